"""Formats, measures, rule sets and stages are found in dictionaries that are read at each call: what
a program adds to them in process is as good as what the package brings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from artifacts.errors import UserError
from artifacts.publish import published
from pipelines.deduplicate.files import dedup_files
from pipelines.readers import (
    FORMATS,
    LIBRARIES,
    Batch,
    Fields,
    Format,
    Limits,
    Span,
    format_of,
    libraries_of,
)
from pipelines.readers.base import any_fields, whole_file
from pipelines.readers.batch import Collector
from pipelines.readers.rows.records import RecordRejectedError, Row
from pipelines.readers.streams.decoding import blocks
from pipelines.readers.streams.opened import compression_of, open_input
from pipelines.recipe.load import LoadedRecipe, given_recipe, recipe_schema
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.signals.rule_sets import RULE_SETS, rule_set
from pipelines.signals.rules import MOST_RULES, Rule, RuleSet
from pipelines.stages import STAGES
from pipelines.stages.base import StageSettings, Step, Surroundings
from pipelines.stages.chunk_steps import ChooseStep, MeasureStep
from pipelines.stages.heuristics import MEASURES, HeuristicsStage, RulesChoose
from pipelines.stages.keep import measured_by

AROUND = Surroundings(folder="/", sources=("s",), columns={})


def read_lines_of_text(
    span: Span, source_name: str, fields: Fields, limits: Limits
) -> Iterator[Batch]:
    """A line is a document; an empty one is no record that can be read."""
    collector, offset = Collector(span, source_name, fields, limits), 0
    with open_input(span.url) as file:
        found = blocks(file, compression_of(span.url), limits)
        text = b"".join(block for block in found if isinstance(block, bytes))
    for line in text.splitlines(keepends=True):
        content = line.rstrip(b"\n")
        if content:
            collector.add(Row(content.decode(), lang=fields.lang), offset)
        else:
            collector.reject(offset, len(line), line, RecordRejectedError("empty_line"))
        collector.advance(len(line))
        offset += len(line)
    yield collector.take()


TXTL = Format(
    name="txtl",
    suffixes=(".txtl",),
    compressed=True,
    pieces=whole_file,
    check_fields=any_fields,
    read=read_lines_of_text,
    libraries=("numpy",),
)


@dataclass(frozen=True)
class VowelMeasure:
    """Column ``vowels``: how many a text has."""

    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> dict[str, Any]:
        return {}

    def fields(self) -> list[pa.Field]:
        return [pa.field("vowels", pa.int64())]

    def measure(self, documents: pa.RecordBatch, resource: pa.Table | None) -> list[pa.Array]:
        return [pc.cast(pc.count_substring_regex(documents["text"], "[aeiou]"), pa.int64())]


SPOKEN = RuleSet("spoken", "vowels", (Rule("too_few_vowels", "min_vowels", "vowels", "<", 3),))


class ShortNameStage(StageSettings):
    """Counts vowels under the stage's own name."""

    kind: ClassVar[str] = "short_name"

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        return [MeasureStep(name, VowelMeasure(), self.sources)]


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "txtl", TXTL)
    monkeypatch.setitem(MEASURES, "vowels", VowelMeasure())
    monkeypatch.setitem(RULE_SETS, "spoken", SPOKEN)
    monkeypatch.setitem(STAGES, "short_name", ShortNameStage)


def recipe_of(folder: Path, *stages: Any, **source: Any) -> LoadedRecipe:
    lines = ["a e i o u", "brr", "", "a wide open sea", "hmm, pst", "aeae"]
    (folder / "said.txtl").write_text("".join(f"{line}\n" for line in lines))
    described = {"name": "said", "paths": ["said.txtl"], **source}
    corpus = {"sources": [described], "stages": list(stages)}
    return given_recipe({"name": "seams", "corpus": corpus}, folder)


def run(loaded: LoadedRecipe, folder: Path) -> RunOutcome:
    return run_recipe(loaded, str(folder / "runs"), until="corpus")


def kept_texts(outcome: RunOutcome) -> list[str]:
    (chunk,) = outcome.record["chunks"]
    documents = pl.read_parquet(outcome.store.full(chunk["documents"]["name"]))
    selection = pl.read_parquet(outcome.store.full(chunk["selection"]["name"]))
    return documents.filter(selection["kept"])["text"].to_list()


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("declared", ["auto", "txtl"])
def test_a_recipe_runs_with_a_format_a_measure_and_a_rule_set_added_in_process(
    tmp_path: Path, declared: str
) -> None:
    loaded = recipe_of(tmp_path, {"heuristics": {"rules": ["spoken"]}}, format=declared)
    outcome = run(loaded, tmp_path)
    ledgers = {ledger.step: ledger for ledger in outcome.ledgers}
    assert ledgers["read"].total().quarantined["empty_line"].documents == 1
    assert ledgers["heuristics"].total().dropped["too_few_vowels"].documents == 2
    assert kept_texts(outcome) == ["a e i o u", "a wide open sea", "aeae"]
    assert "heuristics-vowels (measure)" in ledgers
    assert "heuristics-gopher (measure)" not in ledgers

    again = run(
        recipe_of(tmp_path, {"heuristics": {"rules": ["spoken"]}}, format=declared), tmp_path
    )
    assert again.computed == 0
    assert kept_texts(again) == kept_texts(outcome)


@pytest.mark.usefixtures("toys")
def test_a_threshold_of_an_added_rule_set_is_overridden_as_any_other(tmp_path: Path) -> None:
    stage = {"heuristics": {"rules": ["spoken"], "thresholds": {"min_vowels": 5}}}
    assert kept_texts(run(recipe_of(tmp_path, stage), tmp_path)) == ["a e i o u", "a wide open sea"]


@pytest.mark.usefixtures("toys")
def test_rule_sets_over_several_measures_are_judged_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shy = RuleSet("shy", "gopher", (Rule("too_long", "max_characters", "characters", ">", 12),))
    late = RuleSet("late", "vowels", (Rule("too_many_vowels", "max_vowels", "vowels", ">", 4),))
    monkeypatch.setitem(RULE_SETS, "shy", shy)
    monkeypatch.setitem(RULE_SETS, "late", late)
    loaded = recipe_of(tmp_path, {"heuristics": {"rules": ["spoken", "shy", "late"]}})
    outcome = run(loaded, tmp_path)
    (chunk,) = outcome.record["chunks"]
    verdicts = pl.read_parquet(outcome.store.full(chunk["verdicts"]["heuristics"]["name"]))
    # by line: spoken is bit 0, shy bit 1, late bit 2; the lowest gives the reason
    assert verdicts["rules"].to_list() == [0b100, 0b001, 0b110, 0b001, 0b000]
    assert verdicts["reason"].to_list() == [
        "too_many_vowels",
        "too_few_vowels",
        "too_long",
        "too_few_vowels",
        None,
    ]
    assert kept_texts(outcome) == ["aeae"]


@pytest.mark.usefixtures("toys")
def test_keep_policies_use_an_added_measure_and_name_the_stage_that_would_make_it(
    tmp_path: Path,
) -> None:
    dedup = {"exact_dedup": {"keep": "vowels desc, id"}}
    with pytest.raises(UserError) as caught:
        run(recipe_of(tmp_path, dedup), tmp_path)
    assert caught.value.fix == "put the stage heuristics before this one: it measures vowels"
    outcome = run(recipe_of(tmp_path, {"heuristics": {"rules": ["spoken"]}}, dedup), tmp_path)
    assert len(kept_texts(outcome)) == 3


def test_keep_policies_know_the_stage_of_every_column_a_recipe_can_ask_for() -> None:
    stages = measured_by()
    assert {name: stages[name] for name in ("words", "alpha_word_ratio")} == {
        "words": "heuristics",
        "alpha_word_ratio": "heuristics",
    }
    assert stages["language"] == stages["language_score"] == "language"


@pytest.mark.usefixtures("toys")
def test_a_stage_added_in_process_is_run_and_stands_in_the_schema(tmp_path: Path) -> None:
    outcome = run(recipe_of(tmp_path, "short_name"), tmp_path)
    assert outcome.record["chunks"][0]["signals"].keys() >= {"short_name"}
    assert "stage_short_name" in recipe_schema()["$defs"]


def test_an_added_format_is_allowed_in_recipes_and_their_schema_as_long_as_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def allowed() -> list[str]:
        names: list[str] = recipe_schema()["$defs"]["Source"]["properties"]["format"]["enum"]
        return names

    own = ["auto", "jsonl", "parquet", "warc", "html"]
    assert allowed() == own
    with pytest.raises(UserError) as caught:
        recipe_of(tmp_path, format="txtl")
    assert (caught.value.message, caught.value.found) == ("not an allowed value", "txtl")
    assert list(caught.value.allowed or ()) == own
    monkeypatch.setitem(FORMATS, "txtl", TXTL)
    assert allowed() == [*own, "txtl"]
    assert recipe_of(tmp_path, format="txtl").recipe.corpus.sources[0].format == "txtl"


@pytest.mark.usefixtures("toys")
def test_files_of_an_added_format_are_deduplicated_without_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txtl").write_text("one line of text\nanother\none line of text\n")
    outcome = dedup_files([str(tmp_path / "in" / "*.txtl")], str(tmp_path / "out"), workers=1)
    assert (outcome.entered.documents, outcome.kept.documents) == (3, 2)


def test_a_new_format_changes_no_key_but_those_of_its_own_files() -> None:
    for name in FORMATS:
        assert libraries_of([name]) == LIBRARIES, name
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FORMATS, "txtl", TXTL)
        assert libraries_of(["jsonl", "html"]) == LIBRARIES
        assert libraries_of(["txtl", "jsonl"]) == (*LIBRARIES, "numpy")


@pytest.mark.usefixtures("toys")
def test_the_libraries_of_an_added_format_stand_in_the_key_of_what_it_read(tmp_path: Path) -> None:
    outcome = run(recipe_of(tmp_path), tmp_path)
    (chunk,) = outcome.record["chunks"]
    manifest = published(outcome.store, chunk["documents"]["name"].rpartition("/")[0])
    assert manifest is not None
    named = [library.split()[0] for library in manifest.inputs["libraries"]]
    assert named == [*LIBRARIES, "numpy"]


@pytest.mark.usefixtures("toys")
def test_an_added_format_may_be_compressed_only_where_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert format_of("a.txtl.gz") == "txtl"
    monkeypatch.setitem(FORMATS, "txtl", replace(TXTL, compressed=False))
    with pytest.raises(UserError, match="does not tell the format"):
        format_of("a.txtl.gz")


@pytest.mark.parametrize(
    "rules", [(), ("gopher_quality",), ("gopher_quality", "gopher_quality_zh")]
)
def test_gopher_alone_is_one_measure_with_its_name_and_settings_in_the_key(
    rules: tuple[str, ...],
) -> None:
    measure, choose = HeuristicsStage(rules=rules).steps(AROUND, "clean")
    assert isinstance(measure, MeasureStep)
    assert isinstance(choose, ChooseStep)
    assert (measure.name, choose.name) == ("clean-gopher", "clean")
    assert isinstance(choose.rule, RulesChoose)
    assert choose.rule.needs == ("clean-gopher",)
    assert choose.rule.rules == tuple(rule for name in rules for rule in rule_set(name))
    by_language = ["sets", "identified"] if rules else []
    assert list(choose.rule.settings()) == ["rules", *by_language]


def test_more_rules_than_a_verdict_has_bits_for_are_refused_before_a_run(tmp_path: Path) -> None:
    stage = HeuristicsStage(rules=("gopher_quality",) * (MOST_RULES // 10 + 1))
    with pytest.raises(UserError, match="at most 64 rules"):
        stage.steps(AROUND, "heuristics")


def test_a_rule_set_over_a_measure_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RULE_SETS, "spoken", SPOKEN)
    with pytest.raises(UserError, match="a measure that is not there"):
        HeuristicsStage(rules=("spoken",)).steps(AROUND, "heuristics")


@pytest.mark.parametrize(
    ("found", "name_of"),
    [(FORMATS, "name"), (RULE_SETS, "name"), (STAGES, "kind")],
    ids=["formats", "rule sets", "stages"],
)
def test_entries_stand_under_their_own_names(found: dict[str, Any], name_of: str) -> None:
    assert {getattr(entry, name_of): entry for entry in found.values()} == found
