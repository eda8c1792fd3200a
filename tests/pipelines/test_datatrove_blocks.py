"""datatrove's blocks as stages: the verdict and text of datatrove itself, per document, with clear
errors for the rest.
"""

from __future__ import annotations

import importlib
import importlib.util
from datetime import date
from pathlib import Path
from typing import Any

import datatrove.pipeline.filters
import datatrove.pipeline.formatters
import numpy as np
import pyarrow as pa
import pytest
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4ParagraphFilter,
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.formatters import PIIFormatter, SymbolLinesFormatter
from datatrove.pipeline.formatters.base import BaseFormatter
from datatrove.utils.word_tokenizers import WhitespaceTokenizer
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.tables import read_parquet
from pipelines.recipe.load import load_recipe
from pipelines.report.explain import explain_document
from pipelines.report.page import write_report
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.signals.datatrove_blocks import BLOCKS, REFUSED, BlockUse
from pipelines.stages.base import Surroundings
from pipelines.stages.datatrove import (
    DatatroveChoose,
    DatatroveMeasure,
    DatatroveRewrite,
    DatatroveStage,
)

WITHOUT_SPACY = pytest.mark.skipif(
    importlib.util.find_spec("spacy") is not None,
    reason="spaCy is installed, so nothing is missing",
)


class SplitAtWhitespace(WhitespaceTokenizer):
    def word_tokenize(self, text: str) -> list[str]:
        return text.split()


WORDS = SplitAtWhitespace()

FILTERS: list[tuple[str, dict[str, Any], str, BaseFilter]] = [
    ("C4ParagraphFilter", {}, "datatrove", C4ParagraphFilter()),
    (
        "C4QualityFilter",
        {"min_num_sentences": -1},
        "datatrove",
        C4QualityFilter(min_num_sentences=-1),
    ),
    (
        "C4QualityFilter",
        {"min_num_sentences": 2},
        "whitespace",
        C4QualityFilter(min_num_sentences=2, language=WORDS),
    ),
    (
        "FineWebQualityFilter",
        {"stop_chars": [".", "!"]},
        "whitespace",
        FineWebQualityFilter(stop_chars=(".", "!"), language=WORDS),
    ),
    (
        "GopherQualityFilter",
        {"min_doc_words": 10},
        "whitespace",
        GopherQualityFilter(min_doc_words=10, language=WORDS),
    ),
    (
        "GopherRepetitionFilter",
        {"top_n_grams": [[2, 0.5]]},
        "whitespace",
        GopherRepetitionFilter(top_n_grams=((2, 0.5),), language=WORDS),
    ),
]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The starter's web documents, and texts at the edges."""
    import orjson

    from pipelines.starter.write import write_starter

    folder = tmp_path_factory.mktemp("texts") / "starter"
    write_starter(folder)
    lines = (folder / "data" / "web.jsonl").read_bytes().splitlines()
    edges = [
        "",
        "\n\n",
        "one",
        "a\nb\n" * 20,
        "word " * 60,
        "- point\n" * 30,
        "Lorem ipsum dolor sit amet.",
        "{ }.",
        "x.\n\n" * 40,
    ]
    return [str(orjson.loads(line)["text"]) for line in lines[:60]] + edges


@pytest.mark.parametrize(
    ("block", "settings", "words", "theirs"),
    FILTERS,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_filter_gives_datatroves_own_verdict_and_text(
    texts: list[str], block: str, settings: dict[str, Any], words: Any, theirs: BaseFilter
) -> None:
    use = BlockUse(block, settings, words)
    use.check()
    reasons = set()
    for text in texts:
        document = Document(text=text, id="")
        try:
            result = theirs.filter(document)
        except ZeroDivisionError:
            result = (False, "error_ZeroDivisionError")
        keep, reason = result if isinstance(result, tuple) else (result, None)
        assert use.reason(text) == (None if keep else reason)
        assert use.rewritten(text) == (document.text if keep else text)
        reasons.add(reason)
    assert len(reasons) > 1


@pytest.mark.parametrize("block", ["PIIFormatter", "SymbolLinesFormatter"])
@given(text=st.text(st.sampled_from("ab@. \n-=.19x"), max_size=80))
def test_a_formatter_gives_datatroves_own_text_and_does_not_remember_the_document_before(
    block: str, text: str
) -> None:
    fresh = {"PIIFormatter": PIIFormatter, "SymbolLinesFormatter": SymbolLinesFormatter}
    use = BlockUse(block)
    assert use.rewritten(text) == fresh[block]().format(text)
    use.rewritten("a@b.com")
    assert use.rewritten("mail a@b.com") == fresh[block]().format("mail a@b.com")


def test_every_block_that_datatrove_exports_is_offered_or_refused_with_a_reason() -> None:
    exported = {
        name
        for package in (datatrove.pipeline.filters, datatrove.pipeline.formatters)
        for name, value in vars(package).items()
        if isinstance(value, type) and issubclass(value, BaseFilter | BaseFormatter)
    }
    assert exported == set(BLOCKS) | set(REFUSED)
    for name, block in BLOCKS.items():
        theirs = getattr(importlib.import_module(f"datatrove.pipeline.{block.module}"), name)
        assert issubclass(theirs, BaseFilter) == block.drops


def test_a_reason_of_every_chunk_is_a_rule_of_its_own() -> None:
    column = pa.chunked_array([["short", None], ["long", "short"]], pa.string())
    verdict = DatatroveChoose("m").choose({"m": pa.table({"datatrove_reason": column})})
    assert verdict.names == ("long", "short")
    assert verdict.rules.tolist() == [2, 0, 1, 2]
    assert verdict.reason.to_pylist() == ["short", None, "long", "short"]


def test_more_reasons_than_bits_share_the_last_bit() -> None:
    column = pa.chunked_array([[f"r{number:03}" for number in range(70)]], pa.string())
    rules = DatatroveChoose("m").choose({"m": pa.table({"datatrove_reason": column})}).rules
    assert rules[:64].tolist() == [1 << number for number in range(64)]
    assert np.all(rules[64:] == np.uint64(1 << 63))


def test_what_decides_bytes_is_in_the_rules_settings() -> None:
    use = BlockUse("GopherQualityFilter", {"min_doc_words": 10}, "whitespace")
    for rule in (DatatroveMeasure(use), DatatroveRewrite(use)):
        assert rule.libraries == ("datatrove",)
        assert rule.settings() == {
            "block": use.block,
            "settings": {"min_doc_words": 10},
            "words": "whitespace",
            "tokenizers": [],
        }


def stages(*entries: str) -> list[str]:
    """The override that replaces the starter's stages."""
    return [f"corpus.stages=[{', '.join(entries)}]"]


CHAIN = stages(
    "{datatrove: {block: C4QualityFilter, settings: {min_num_sentences: -1}, sources: [web]}}",
    "{datatrove: {block: RegexFilter, settings: {regex_exp: 'federal'}, name: federal, sources: [web]}}",
    "{datatrove: {block: PIIFormatter, name: pii, sources: [web]}}",
)


@pytest.fixture
def run(starter: Path, tmp_path: Path) -> RunOutcome:
    return run_recipe(load_recipe(starter, CHAIN), str(tmp_path / "runs"), until="corpus")


def test_a_run_drops_and_rewrites_as_datatroves_filters_in_a_row_would(
    run: RunOutcome, texts: list[str]
) -> None:
    store = run.store
    chunk = next(chunk for chunk in run.record["chunks"] if chunk["source"] == "web")
    documents = read_parquet(store, chunk["documents"]["name"], "documents")
    selection = read_parquet(store, chunk["selection"]["name"], "selection")
    assert len(documents) == len(selection) > 50
    found = []
    for native, text in zip(
        documents["native_id"].to_pylist(), documents["text"].to_pylist(), strict=True
    ):
        document = Document(text=text, id=native)
        keep = (
            C4QualityFilter(min_num_sentences=-1).filter(document) is True
            and "federal" not in document.text
        )
        found.append(keep)
        if keep:
            explained = explain_document(store, run.record, f"web:{native}")
            assert explained["characters"] == len(PIIFormatter().format(document.text))
    assert selection["kept"].to_pylist() == found
    assert 0 < sum(found) < len(found)
    assert set(selection["reason"].to_pylist()) >= {None, "curly_bracket", "filtered"}


def test_the_ledger_has_datatroves_reasons_and_a_second_run_computes_nothing(
    run: RunOutcome, starter: Path, tmp_path: Path
) -> None:
    ledgers = {ledger["step"]: ledger for ledger in run.record["ledgers"]}
    assert ledgers["datatrove"]["total"]["dropped"]["curly_bracket"]["documents"] > 0
    assert ledgers["federal"]["total"]["dropped"]["filtered"]["documents"] > 0
    assert (
        run_recipe(load_recipe(starter, CHAIN), str(tmp_path / "runs"), until="corpus").computed
        == 0
    )
    assert write_report(run.store, run.record)


def problem(starter: Path, stage: str, tmp_path: Path) -> UserError:
    with pytest.raises(UserError) as raised:
        run_recipe(
            load_recipe(starter, stages(f"{{datatrove: {stage}}}")),
            str(tmp_path / "runs"),
            until="corpus",
        )
    return raised.value


def test_a_setting_that_is_no_plain_value_is_refused() -> None:
    """A recipe can only hold plain values (a date in it is text); Python callers can pass
    anything.
    """
    stage = DatatroveStage.model_validate(
        {"block": "RegexFilter", "settings": {"regex_exp": date(2020, 1, 1)}}
    )
    with pytest.raises(UserError, match="not a plain value") as raised:
        stage.steps(Surroundings(folder="/", sources=("web",), columns={}), "datatrove")
    assert "settings" in (raised.value.field or "")


@pytest.mark.parametrize(
    ("stage", "message", "field"),
    [
        ("{block: GopherQualityFiltr, words: whitespace}", "no such datatrove block", "block"),
        ("{block: LambdaFilter}", "its setting is code", "block"),
        ("{block: C4BadWordsFilter}", "downloads its word lists", "block"),
        (
            "{block: RegexFilter, settings: {regex: a}}",
            "RegexFilter has no such setting",
            "settings.regex",
        ),
        (
            "{block: RegexFilter, settings: {exclusion_writer: a}}",
            "no such setting",
            "settings.exclusion_writer",
        ),
        ("{block: C4ParagraphFilter, settings: {a: 1}}", "no such setting", "settings.a"),
        ("{block: RegexFilter}", "cannot work with these settings", "settings"),
        (
            "{block: RegexFilter, settings: {regex_exp: '('}}",
            "cannot work with these settings",
            "settings",
        ),
        (
            "{block: GopherQualityFilter, settings: {min_doc_words: many}, words: whitespace}",
            "cannot work with these",
            "settings",
        ),
        (
            "{block: GopherQualityFilter, settings: {language: klingon}}",
            "no word tokenizer for this language",
            "settings.language",
        ),
        (
            "{block: RegexFilter, settings: {regex_exp: a}, words: whitespace}",
            "blocks that segment words",
            "words",
        ),
    ],
)
def test_a_stage_that_cannot_work_is_a_user_error_before_anything_runs(
    starter: Path, tmp_path: Path, stage: str, message: str, field: str
) -> None:
    error = problem(starter, stage, tmp_path)
    assert message in error.message
    assert error.field == field
    assert error.file is not None
    assert not (tmp_path / "runs").exists()


@WITHOUT_SPACY
def test_a_missing_word_tokenizer_names_the_extra_to_install(starter: Path, tmp_path: Path) -> None:
    for block in (
        "FineWebQualityFilter",
        "GopherQualityFilter",
        "GopherRepetitionFilter",
        "C4QualityFilter",
    ):
        error = problem(starter, f"{{block: {block}}}", tmp_path)
        assert "not installed" in error.message
        assert "spacy" in str(error.found)
        assert "windtunnel[words]" in str(error.fix)


def test_a_nearest_block_is_suggested(starter: Path, tmp_path: Path) -> None:
    assert (
        problem(starter, "{block: GopherQualityFiltr}", tmp_path).nearest == "GopherQualityFilter"
    )
