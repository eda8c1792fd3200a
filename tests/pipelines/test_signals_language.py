"""Language identification answers what py3langid answers."""

from __future__ import annotations

import lzma
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from py3langid.langid import MODEL_FILE, LanguageIdentifier, visit_counts

from artifacts.errors import UserError
from pipelines.signals import language, language_model
from pipelines.signals.characters import character_table
from pipelines.signals.language import LanguageModel, detect
from pipelines.signals.text_buffers import text_buffers

SENTENCES = {
    "en": "All human beings are born free and equal in dignity and rights.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "zh": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "ar": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق.",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। बड़ा",
    "bn": "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে।",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
    "tr": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. İSTANBUL",
    "sr": "Сва људска бића рађају се слободна и једнака у достојанству и правима.",
}
COMPOSING = "ỗÅ한e\u0301\u0323\u09be\u1161\u11a8"
alphabet = st.one_of(
    st.characters(codec="utf-8"),
    st.sampled_from("".join(SENTENCES.values())),
    st.sampled_from(COMPOSING),
)
word = st.one_of(
    st.sampled_from(" ".join(SENTENCES.values()).split()), st.text(alphabet, max_size=5)
)
words = st.lists(word, max_size=25).map(" ".join)
decomposed = words.map(lambda text: unicodedata.normalize("NFD", text))
texts_of_all_kinds = st.one_of(
    st.text(alphabet, max_size=80), words, words.map(str.upper), decomposed
)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return LanguageModel.load()


@pytest.fixture(scope="module")
def oracle() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def cut(text: str, max_bytes: int) -> str:
    return text.encode()[:max_bytes].decode(errors="ignore")


def exact(text: str, oracle: LanguageIdentifier) -> dict[str, float] | None:
    """Confidences from py3langid's tables in float64; its own float32 sums are off by up to a few
    1e-4.
    """
    encoded = oracle._encode(text)
    visits = visit_counts(oracle.tk_nextmove, oracle._rowbase, oracle.tk_output, encoded)
    if not visits:
        return None
    rows = oracle.nb_ptc[list(visits)].astype(np.float64)
    scores = (np.log1p(list(visits.values())) @ rows + oracle.nb_pc) / np.sqrt(len(encoded))
    shares = np.exp(scores - scores.max())
    confidences = dict.fromkeys(oracle.labels, 0.0)
    for label, share in zip(oracle.nb_classes, shares / shares.sum(), strict=True):
        confidences[label] += float(share)
    return confidences


def check(
    texts: list[str], model: LanguageModel, oracle: LanguageIdentifier, max_bytes: int = 2000
) -> None:
    labels, scores = detect(pa.array(texts, pa.large_string()), model, max_bytes)
    for text, label, score in zip(texts, labels.to_pylist(), scores.to_pylist(), strict=True):
        confidences = exact(cut(text, max_bytes), oracle)
        if confidences is None:
            assert (label, score) == (language.UNDETERMINED, 0.0)
            continue
        (first, best), (second, next_best) = oracle.rank(cut(text, max_bytes))[:2]
        assert label == first or (label == second and best - next_best < 1e-5)
        assert score == pytest.approx(confidences[label], abs=2e-5)
        assert score == pytest.approx({first: best, second: next_best}[label], abs=5e-4)


def test_sentences_are_recognised(model: LanguageModel) -> None:
    labels, scores = detect(pa.array(list(SENTENCES.values()), pa.large_string()), model)
    assert labels.to_pylist() == list(SENTENCES)
    assert labels.type == pa.string()
    assert scores.type == pa.float32()
    assert min(scores.to_pylist()) > 0.3


@given(st.lists(texts_of_all_kinds, min_size=1, max_size=4))
@example(
    [
        "İ",
        "ǅ",
        "A1",
        "STRASSE ẞ",
        "\u0344",
        "e\u0323\u0301",
        "e\u0301\u0323",
        "\u1112\u1161\u11ab",
        "𝐀𝐁",
        "ª",
        "Ⅷ",
    ]
)
@settings(deadline=None, max_examples=150)
def test_label_and_confidence_are_py3langids(
    model: LanguageModel, oracle: LanguageIdentifier, texts: list[str]
) -> None:
    check(texts, model, oracle)


# shadda before fatha, as typed; NFC swaps them
VOWELLED = "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f"


@given(texts_of_all_kinds)
@example(VOWELLED)
@example("ΑΒΓ Ⅷ")
@example("中A文")
@settings(deadline=None)
def test_the_scan_marks_every_text_that_would_be_rewritten(text: str) -> None:
    table = character_table()
    values, offsets = text_buffers(pa.array([text], pa.large_string()))
    marked, ends = np.zeros(1, np.uint8), np.zeros(1, np.int64)
    language.scan_texts(
        values, offsets, 1 << 20, table.pages, table.flags, language._quiet_leads(), ends, marked
    )
    assert ends[0] == len(text.encode())
    assert marked[0] or (unicodedata.is_normalized("NFC", text) and not text.isupper())


def test_ordinary_texts_are_not_marked() -> None:
    table = character_table()
    values, offsets = text_buffers(
        pa.array(
            [SENTENCES[label] for label in ("en", "fr", "ru", "zh", "ja", "ko", "th")],
            pa.large_string(),
        )
    )
    marked, ends = np.zeros(7, np.uint8), np.zeros(7, np.int64)
    language.scan_texts(
        values, offsets, 1 << 20, table.pages, table.flags, language._quiet_leads(), ends, marked
    )
    assert not marked.any()


def test_misordered_marks_are_put_in_order_first(
    model: LanguageModel, oracle: LanguageIdentifier
) -> None:
    check([VOWELLED, " ".join([VOWELLED] * 20)], model, oracle)


@given(texts_of_all_kinds, st.integers(1, 60))
@settings(deadline=None, max_examples=60)
def test_a_cut_falls_on_a_character_boundary(
    model: LanguageModel, oracle: LanguageIdentifier, text: str, max_bytes: int
) -> None:
    check([text], model, oracle, max_bytes)


def test_long_documents_in_many_languages_agree(
    model: LanguageModel, oracle: LanguageIdentifier
) -> None:
    rng = np.random.default_rng(3)
    tokens = {label: sentence.split() for label, sentence in SENTENCES.items()}
    texts = [" ".join(rng.choice(tokens[label], 300)) for label in tokens]
    texts += [text.upper() for text in texts] + [
        unicodedata.normalize("NFD", text) for text in texts
    ]
    check(texts, model, oracle)


@pytest.mark.parametrize("text", ["", " ", "\n\n", "-"])
def test_text_without_features_is_undetermined(model: LanguageModel, text: str) -> None:
    labels, scores = detect(pa.array([text], pa.large_string()), model)
    assert (labels[0].as_py(), scores[0].as_py()) == ("und", 0.0)


def test_no_documents(model: LanguageModel) -> None:
    labels, scores = detect(pa.array([], pa.large_string()), model)
    assert len(labels) == len(scores) == 0


def test_slices_see_only_their_rows(model: LanguageModel) -> None:
    column = pa.array(list(SENTENCES.values()), pa.large_string())
    labels, scores = detect(column, model)
    part_labels, part_scores = detect(column.slice(3, 5), model)
    assert part_labels.equals(labels.slice(3, 5))
    assert part_scores.equals(scores.slice(3, 5))


def test_malformed_bytes_get_an_answer_within_their_document(model: LanguageModel) -> None:
    good = SENTENCES["en"].encode()
    raw = [b"\xff" * 8, good + b"\xe4\xb8", b"\x80" * 3000, SENTENCES["bn"].encode()[:-1]]
    buffers = pa.array(raw, pa.large_binary()).buffers()
    labels, _ = detect(pa.LargeStringArray.from_buffers(len(raw), buffers[1], buffers[2]), model)
    assert labels.to_pylist()[1] == "en"
    assert labels.to_pylist()[3] == "bn"


def test_max_bytes_is_positive(model: LanguageModel) -> None:
    with pytest.raises(ValueError, match="0"):
        detect(pa.array(["a"], pa.large_string()), model, 0)


def test_the_automaton_forgets_all_but_its_memory(
    model: LanguageModel, oracle: LanguageIdentifier
) -> None:
    """Aho-Corasick: a state that does not go deeper goes where its longest proper suffix goes."""
    rows, row_of = np.asarray(oracle.tk_nextmove).reshape(-1, 256), np.asarray(oracle.tk_row)
    depth, suffix = np.full(len(row_of), -1), np.zeros(len(row_of), np.int64)
    depth[0], level, steps = 0, np.array([0]), 0
    while len(level):
        steps += 1
        after = rows[row_of[level]]  # (level, 256)
        parents, letters = np.nonzero(depth[after] < 0)
        children = after[parents, letters]
        suffix[children] = 0 if steps == 1 else rows[row_of[suffix[level[parents]]], letters]
        depth[children] = steps
        level = np.unique(children)
    assert depth.min() >= 0
    assert depth.max() == model.memory
    for first in range(1, len(depth), 8192):
        states = np.arange(first, min(first + 8192, len(depth)))
        after = rows[row_of[states]]
        deeper = depth[after] == depth[states][:, None] + 1
        assert np.all(deeper | (after == rows[row_of[suffix[states]]]))


def test_moves_hold_the_row_and_the_feature_of_the_next_state(
    model: LanguageModel, oracle: LanguageIdentifier
) -> None:
    after = np.asarray(oracle.tk_nextmove)
    rows, features = np.divmod(model.moves.astype(np.int64), language_model.SPAN)
    assert np.array_equal(rows, np.asarray(oracle.tk_row)[after])
    assert np.array_equal(features - 1, np.asarray(oracle.tk_output)[after])


def test_many_documents_of_all_lengths_fill_several_batches(
    model: LanguageModel, oracle: LanguageIdentifier
) -> None:
    stream = " ".join(SENTENCES.values())
    texts = [stream[at : at + at * 7 % 900] for at in range(0, 700, 2)] + ["", stream * 150, ""]
    assert sum(len(text.encode()) for text in texts) > 2 * language.BATCH_BYTES
    labels, scores = detect(pa.array(texts, pa.large_string()), model, 2 * language.BATCH_BYTES)
    alone = [
        detect(pa.array([text], pa.large_string()), model, 2 * language.BATCH_BYTES)
        for text in texts
    ]
    assert labels.to_pylist() == [label[0].as_py() for label, _ in alone]
    assert scores.to_pylist() == [score[0].as_py() for _, score in alone]
    check(texts, model, oracle)


def test_model_is_loaded_once_and_weights_are_exact(
    model: LanguageModel, oracle: LanguageIdentifier
) -> None:
    assert LanguageModel.load() is model
    assert list(model.labels) == oracle.labels
    exact = model.weights[:, : len(model.classes)] * language_model.WEIGHT_UNIT
    shift = exact - oracle.nb_ptc.astype(np.float64)
    assert np.all(shift == shift[:, :1])  # a constant per feature: the same for every class


def test_a_damaged_model_is_a_user_error(tmp_path: Path) -> None:
    damaged = tmp_path / "model.npz.xz"
    damaged.write_bytes(b"not lzma")
    with pytest.raises(UserError, match="reinstall"):
        language_model._load(damaged)
    other = tmp_path / "other.npz.xz"
    with lzma.open(other, "wb") as stream:
        np.savez(stream, ptc=np.zeros((1, 1)))
    with pytest.raises(UserError, match="known layout"):
        language_model._load(other)
    with lzma.open(other, "wb") as stream:
        stream.write(b"neither zip nor npy")
    with pytest.raises(UserError, match="known layout"):
        language_model._load(other)
