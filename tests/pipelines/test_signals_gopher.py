"""Gopher measures against a plain Python model, and verdicts against datatrove's filter."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from datatrove.data import Document
from datatrove.pipeline.filters import gopher_quality_filter as oracle
from datatrove.utils.text import PUNCTUATION_SET
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.signals import gopher, rule_sets, rules

CJK_LETTERS = "中文字日本語かなカナ한국어ไทยㄅ々"
PIECES = [
    "the", "be", "to", "of", "and", "that", "have", "with", "The", "then", "a", "word", "naïve",
    "Straße", "北京", "한국어", "𝔘nicode", "😀", "1234", "...", "….", "…", "..", "....", "......", "#",
    "##", "-", "•", "- item", "• item", "。", "!?", "/—”", " ", "  ", "\t", "\n", "\r", "\r\n",
    "\n\r", "\v", "\f", "\x1c", "\x1f", "\x85", "\xa0", "\u2028", "\u2029", "\u3000", "\u200b",
]  # fmt: skip
mosaic = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=60).map("".join)
LONGER = ["some", "longer", "english", "words", "follow", "here"]
prose = st.lists(st.sampled_from([*PIECES, *LONGER]), min_size=60, max_size=120).map(" ".join)


def model(text: str) -> dict[str, float | int | None]:
    """Every measure, spelt out with str methods."""
    words, lines = text.split(), text.splitlines()
    free = [word for word in words if any(character not in PUNCTUATION_SET for character in word)]
    visible = [character for character in text if not character.isspace()]
    hashes, ellipses = text.count("#"), text.count("...") + text.count("…")

    def ratio(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    return {
        "words": len(words),
        "symbol_free_words": len(free),
        "mean_word_length": ratio(sum(map(len, free)), len(free)),
        "hash_ratio": ratio(hashes, len(words)),
        "ellipsis_ratio": ratio(ellipses, len(words)),
        "bullet_line_ratio": ratio(
            sum(line.lstrip().startswith(("-", "•")) for line in lines), len(lines)
        ),
        "ellipsis_line_ratio": ratio(
            sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)
        ),
        "alpha_word_ratio": ratio(sum(any(map(str.isalpha, word)) for word in words), len(words)),
        "alpha_character_ratio": ratio(sum(map(str.isalpha, visible)), len(visible)),
        "stop_words": len(set(gopher.STOP_WORDS) & set(words)),
        "hashes": hashes,
        "ellipses": ellipses,
        "characters": len(text),
        "bytes": len(text.encode()),
        "lines": len(lines),
    }


def measured(texts: list[str]) -> list[dict[str, float | int | None]]:
    return list(gopher.measure(pa.array(texts, pa.large_string())).to_pylist())


def check(texts: list[str]) -> None:
    for text, found in zip(texts, measured(texts), strict=True):
        expected = model(text)
        assert {name: found[name] for name in expected} == expected


@given(st.lists(mosaic, max_size=4))
@example(["", "a", ""])
@example(["....", ". ..", ".....", "...\n...", "a... \n", "…\x1f\n"])
@example(["-\r\n-\r\r\n\n•", "\r", "\n", "\r\n", "a\r", "a\rb\n", "\x1c\x1d\x1e", " \x1f- x"])
@settings(deadline=None)
def test_measures_equal_the_python_model(texts: list[str]) -> None:
    check(texts)


@given(st.text(max_size=200))
@settings(deadline=None)
def test_measures_equal_the_python_model_on_any_text(text: str) -> None:
    check([text])


def test_cjk_characters_are_letters_of_scripts_without_spaces() -> None:
    texts = [CJK_LETTERS, "abc кот １２３", "中a文。日，", "𠀀𠮷 ｶﾅ", ""]
    assert [row["cjk_characters"] for row in measured(texts)] == [len(CJK_LETTERS), 0, 3, 4, 0]


def test_schema_is_the_declared_one_even_for_no_documents() -> None:
    batch = gopher.measure(pa.array([], pa.large_string()))
    assert batch.schema == gopher.COLUMNS
    assert batch.num_rows == 0


@pytest.mark.parametrize("offset", [0, 1, 3])
@pytest.mark.parametrize("length", [0, 1, 2])
def test_slices_measure_only_their_rows(offset: int, length: int) -> None:
    texts = ["the first -", "", "中文 … the", "- last\n- of all", "beyond"]
    column = pa.array(texts, pa.large_string())
    assert gopher.measure(column.slice(offset, length)).to_pylist() == measured(
        texts[offset : offset + length]
    )


def test_other_string_columns_are_accepted_and_null_is_empty() -> None:
    texts = ["one two", "", "- three"]
    expected = measured(texts)
    assert gopher.measure(pa.array(texts, pa.string())).to_pylist() == expected
    chunks = pa.chunked_array(
        [pa.array(texts[:1], pa.large_string()), pa.array(texts[1:], pa.large_string())]
    )
    assert gopher.measure(chunks).to_pylist() == expected
    assert (
        gopher.measure(pa.array([texts[0], None, texts[2]], pa.large_string())).to_pylist()
        == expected
    )


def test_a_column_that_is_not_text_is_refused() -> None:
    with pytest.raises(TypeError, match="int64"):
        gopher.measure(pa.array([1, 2]))


def test_malformed_bytes_are_counted_within_their_document() -> None:
    raw = [b"ab \xe4\xb8", b"\xf0\x9f", b"\xff\xfe tail", b"\x80"]
    buffers = pa.array(raw, pa.large_binary()).buffers()
    column = pa.LargeStringArray.from_buffers(len(raw), buffers[1], buffers[2])
    batch = gopher.measure(column)
    assert batch.column("words").to_pylist() == [2, 1, 2, 1]
    assert batch.column("characters").to_pylist() == [5, 2, 7, 1]


@pytest.fixture
def _words_by_whitespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "split_into_words", lambda text, language: text.split())


def verdicts(texts: list[str], chosen: tuple[rules.Rule, ...]) -> Iterator[str | None]:
    batch = gopher.measure(pa.array(texts, pa.large_string()))
    return iter(rules.evaluate(batch, chosen)[1].to_pylist())


def datatrove_verdict(text: str, block: oracle.GopherQualityFilter) -> str | None:
    outcome = block.filter(Document(text=text, id="0"))
    return None if outcome is True else outcome[1]


@pytest.mark.slow
@pytest.mark.usefixtures("_words_by_whitespace")
def test_verdict_and_reason_are_datatroves_with_default_thresholds() -> None:
    block, chosen = oracle.GopherQualityFilter(), rule_sets.rule_set("gopher_quality")
    seen: set[str | None] = set()

    @given(st.lists(st.one_of(prose, mosaic), min_size=1, max_size=3))
    @settings(deadline=None)
    def agrees(texts: list[str]) -> None:
        for text, found in zip(texts, verdicts(texts, chosen), strict=True):
            assert found == datatrove_verdict(text, block)

    agrees()
    good = "the quick brown fox and the lazy dog have been with us " * 8
    texts = [
        good,
        "too short",
        "a to b " * 40,
        good.replace(" ", "") + " the and " * 40 + "x" * 2000,
        good + "# " * 30,
        good + "... " * 30,
        ("- the words and more\n") * 20,
        ("the words and more...\n" + "and some more with them to have here yes\n" * 2) * 10,
        good + "12345 " * 60,
        "some longer english words follow here " * 20,
        "the words and more " * 30_000,
    ]
    for text, found in zip(texts, verdicts(texts, chosen), strict=True):
        assert found == datatrove_verdict(text, block)
        seen.add(found)
    assert seen == {None, *(rule.reason for rule in chosen)}


@pytest.mark.usefixtures("_words_by_whitespace")
def test_verdict_and_reason_are_datatroves_with_other_thresholds() -> None:
    block = oracle.GopherQualityFilter(
        min_doc_words=1,
        max_doc_words=12,
        min_avg_word_length=2,
        max_avg_word_length=6,
        max_symbol_word_ratio=0.25,
        max_bullet_lines_ratio=0.5,
        max_ellipsis_lines_ratio=0.4,
        max_non_alpha_words_ratio=0.5,
        min_stop_words=1,
    )
    thresholds = {
        "min_words": 1,
        "max_words": 12,
        "min_mean_word_length": 2,
        "max_mean_word_length": 6,
        "max_hash_ratio": 0.25,
        "max_ellipsis_ratio": 0.25,
        "max_bullet_line_ratio": 0.5,
        "max_ellipsis_line_ratio": 0.4,
        "min_alpha_word_ratio": 0.5,
        "min_stop_words": 1,
    }
    chosen = rule_sets.rule_set("gopher_quality", thresholds)

    @given(
        st.lists(
            st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join), min_size=1, max_size=6
        )
    )
    @settings(deadline=None)
    def agrees(texts: list[str]) -> None:
        for text, found in zip(texts, verdicts(texts, chosen), strict=True):
            assert found == datatrove_verdict(text, block)

    agrees()
