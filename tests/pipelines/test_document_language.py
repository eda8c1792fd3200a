"""Rule sets by the language of a document, wherever it is known from."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datatrove.data import Document
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from pipelines.datatrove.steps import WindtunnelStep
from pipelines.executors.progress import Silent
from pipelines.recipe.load import given_recipe
from pipelines.report.losses import warnings
from pipelines.report.page import write_report
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.signals.document_language import document_languages, language_code
from pipelines.signals.language import detect
from pipelines.signals.language_model import LanguageModel
from pipelines.signals.language_names import LANGUAGES, MACROLANGUAGES

ENGLISH = (
    "the people of the town and their neighbours went with the river to be near that old bridge "
    "where boats have stopped for many years and children play in the grass beside the water "
)
CHINESE = "这座城市的居民每天早上都沿着河边散步，孩子们在草地上玩耍，老人坐在桥边下棋，讨论今天的新闻和天气。"
GERMAN = (
    "die Bewohner der alten Stadt gehen jeden Morgen am Fluss entlang und reden dabei über das "
    "Wetter und die Neuigkeiten des Tages, während die Kinder auf der Wiese spielen "
)


class Heard(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def documents(text: str, count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"text": f"{text * 3} {number}", **fields} for number in range(count)]


def run(
    folder: Path,
    records: list[dict[str, Any]],
    stages: list[Any],
    heard: Heard | None = None,
    **source: Any,
) -> RunOutcome:
    folder.mkdir(exist_ok=True)
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    (folder / "web.jsonl").write_text("".join(lines))
    values = {
        "name": "by-language",
        "corpus": {
            "sources": [{"name": "web", "paths": ["web.jsonl"], **source}],
            "stages": stages,
        },
    }
    loaded = given_recipe(values, folder)
    return run_recipe(loaded, str(folder / "runs"), until="corpus", progress=heard)


def of_step(outcome: RunOutcome, step: str) -> dict[str, Any]:
    (ledger,) = [one for one in outcome.record["ledgers"] if one["step"] == step]
    found: dict[str, Any] = ledger
    return found


KEEP = {"language": {"keep": ["en", "zh"]}}
MIXED = [*documents(ENGLISH, 30), *documents(CHINESE, 40), *documents(GERMAN, 5)]


@pytest.mark.parametrize(
    "stages", [[KEEP, "heuristics"], ["heuristics", KEEP], [KEEP, "newlines", "heuristics"],
               ["heuristics", "newlines", KEEP]]
)  # fmt: skip
def test_rules_for_english_leave_chinese_alone_wherever_the_language_stage_stands(
    tmp_path: Path, stages: list[Any]
) -> None:
    heard = Heard()
    outcome = run(tmp_path, MIXED, stages, heard)
    assert of_step(outcome, "heuristics")["total"]["dropped"] == {}
    facts = of_step(outcome, "heuristics")["facts"]["judged"]["web"]
    assert facts["judged"] == {"gopher_quality": 30}
    assert facts["not_judged"]["zh"] == 40
    entered = of_step(outcome, "heuristics")["total"]["in"]["documents"]
    assert 30 + sum(facts["not_judged"].values()) == entered
    assert of_step(outcome, "language")["total"]["dropped"]["language_not_kept"]["documents"] == 5
    (note,) = [note for note in heard.notes if "not judged" in note]
    assert note.startswith("heuristics: gopher_quality judged 30 documents; ")
    page = (tmp_path / "runs/by-language" / write_report(outcome.store, outcome.record)).read_text()
    assert note in page
    assert not warnings(outcome.record)


def test_each_set_judges_its_own_language(tmp_path: Path) -> None:
    short = [
        {"text": "短文。" * 3},
        {"text": "a short English text that is not long enough at all"},
    ]
    sets = {"heuristics": {"rules": ["gopher_quality", "gopher_quality_zh"]}}
    outcome = run(tmp_path, [*MIXED, *short], ["language", sets])
    facts = of_step(outcome, "heuristics")["facts"]["judged"]["web"]
    assert facts["judged"] == {"gopher_quality": 31, "gopher_quality_zh": 41}
    assert facts["not_judged"] == {"de": 5}
    dropped = of_step(outcome, "heuristics")["total"]["dropped"]
    assert {reason: entry["documents"] for reason, entry in dropped.items()} == {"gopher_short_doc": 2}  # fmt: skip


def test_without_a_language_stage_the_record_speaks_then_the_source_then_everybody_is_judged(
    tmp_path: Path,
) -> None:
    records = [
        *documents(CHINESE, 3, lang="zh_Hans"),
        *documents(CHINESE, 4, lang="cmn"),
        *documents(CHINESE, 5),
        *documents(ENGLISH, 6, lang="English"),
    ]
    for row, record in enumerate(records):
        record["text"] += str(row)
    facts = {}
    for name, lang in (("own", None), ("source", "zho")):
        outcome = run(tmp_path / name, records, ["heuristics"], lang=lang)
        step = of_step(outcome, "heuristics")
        facts[name] = step["facts"]["judged"]["web"]
        gone = sum(entry["documents"] for entry in step["total"]["dropped"].values())
        assert gone == (5 if name == "own" else 0), "what no one knows is judged as it always was"
    assert facts["own"]["judged"] == {"gopher_quality": 11}
    assert facts["own"]["not_judged"] == {"zh": 7}
    assert facts["own"]["language_not_known"] == 5
    assert facts["source"]["not_judged"] == {"zh": 12}


def test_languages_of_the_stage_override_and_a_language_that_vanishes_is_warned_of(
    tmp_path: Path,
) -> None:
    heard = Heard()
    outcome = run(tmp_path, MIXED, [KEEP, {"heuristics": {"languages": "all"}}], heard)
    (warning,) = warnings(outcome.record)
    assert warning.startswith("heuristics keeps 0 of 40 documents in language zh: gopher_")
    assert warning in heard.notes
    assert warning in (tmp_path / "runs/by-language" / write_report(outcome.store, outcome.record)).read_text()  # fmt: skip
    wide = run(tmp_path, MIXED, ["language", {"heuristics": {"languages": ["eng", "de"]}}])
    facts = of_step(wide, "heuristics")["facts"]["judged"]["web"]
    assert (facts["judged"], facts["not_judged"]) == ({"gopher_quality": 35}, {"zh": 40})
    with pytest.raises(UserError, match="no such language"):
        run(tmp_path, MIXED, [{"heuristics": {"languages": ["klingonish"]}}])


def test_english_documents_get_the_verdicts_they_always_got(tmp_path: Path) -> None:
    drawn = random.Random(3)
    words = [*ENGLISH.split(), "#", "...", "•", "12", "x" * 40]
    records = [
        {"text": " ".join(drawn.choices(words, k=drawn.randrange(5, 90))), "lang": "en"}
        for _ in range(300)
    ]
    tables = []
    for name, languages in (("own", None), ("all", "all")):
        stage = {"heuristics": {} if languages is None else {"languages": languages}}
        outcome = run(tmp_path / name, records, [stage])
        (chunk,) = outcome.record["chunks"]
        paths = [chunk["verdicts"]["heuristics"]["name"], chunk["selection"]["name"]]
        tables.append([pq.read_table(outcome.store.full(path)) for path in paths])
    assert tables[0] == tables[1]
    assert 0 < sum(tables[0][1]["kept"].to_pylist()) < 300


def test_in_datatrove_the_language_is_that_of_the_metadata() -> None:
    texts = [
        (CHINESE * 3, {"language": "zh"}),
        (CHINESE * 3, {}),
        (ENGLISH * 3, {"language": "en"}),
    ]
    made = [Document(text, str(row), metadata=data) for row, (text, data) in enumerate(texts)]
    kept = list(WindtunnelStep("heuristics").run(made))
    assert [document.id for document in kept] == ["0", "2"]


# -- codes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("en", "en"), ("EN-us", "en"), ("eng", "en"), ("English", "en"), ("zh_Hans", "zh"),
        ("cmn_Hani", "zh"), ("wuu", "zh"), ("yue", "zh"), ("nb", "no"), ("hbo", "he"), ("iw", "he"),
        ("ceb", "ceb"), ("yi", "yi"), ("nn", "nn"), ("und", None), ("zxx", None), ("mul", None),
        ("", None), ("unknown", None), ("n/a", None), ("js", None), ("c++", None), ("1", None),
    ],
)  # fmt: skip
def test_tags_and_names_become_one_code(tag: str, code: str | None) -> None:
    assert language_code(tag) == code


def test_every_label_of_the_model_is_a_code_of_its_own_or_of_its_macrolanguage() -> None:
    for label, name in LANGUAGES.items():
        wanted = None if label == "zxx" else MACROLANGUAGES.get(label, label)
        assert language_code(label) == language_code(name) == wanted
    assert set(MACROLANGUAGES) | set(MACROLANGUAGES.values()) <= set(LANGUAGES)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["en", "wuu", "und", None]), st.sampled_from(["de", "zho", "?", None])
        )
    )
)
def test_what_was_identified_goes_before_what_is_declared(
    rows: list[tuple[str | None, str | None]],
) -> None:
    identified = pa.chunked_array([[found for found, _ in rows]], pa.string())
    declared = pa.array([said for _, said in rows], pa.string())
    meant = {"en": "en", "wuu": "zh", "de": "de", "zho": "zh"}
    wanted = [meant.get(found or "") or meant.get(said or "") for found, said in rows]
    assert document_languages(identified, declared).to_pylist() == wanted
    assert document_languages(None, declared).to_pylist() == [meant.get(s or "") for _, s in rows]


def test_folded_labels_are_given_as_another_with_the_scores_of_all() -> None:
    model = LanguageModel.load()
    texts = pa.array([CHINESE, CHINESE[:8], ENGLISH, GERMAN, "上海话侬好伐", ""], pa.large_string())
    labels, scores = detect(texts, model)
    folded, sums = detect(texts, model, folded=MACROLANGUAGES)
    for before, after, score, total in zip(
        *(column.to_pylist() for column in (labels, folded, scores, sums)), strict=True
    ):
        assert after == MACROLANGUAGES.get(before, before)
        assert total >= score
        assert total == score or after in MACROLANGUAGES.values()
    assert all(total <= 1.0001 for total in sums.to_pylist())


def test_a_member_that_keep_names_stays_itself(tmp_path: Path) -> None:
    from pipelines.stages.language import LanguageStage

    def folded(**settings: Any) -> dict[str, str]:
        return dict(LanguageStage(**settings).language_measure("language").rule.folded)

    assert folded() == MACROLANGUAGES
    assert folded(macrolanguages=False) == {}
    assert folded(keep=["yue"]).get("yue") is None
    assert folded(keep=["yue"])["wuu"] == "zh"
