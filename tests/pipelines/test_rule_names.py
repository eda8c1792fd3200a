"""A rule's name in content keys stays what it was, wherever its class goes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from artifacts.fingerprints import content_key
from pipelines.run import rule_versions
from pipelines.stages.base import fingerprint, rule_name

NAMES = {
    "conversations.ConversationMeasure": "pipelines.stages.conversations.ConversationMeasure",
    "conversations.ConversationChoose": "pipelines.stages.conversations.ConversationChoose",
    "datatrove.DatatroveMeasure": "pipelines.stages.datatrove.DatatroveMeasure",
    "datatrove.DatatroveRewrite": "pipelines.stages.datatrove.DatatroveRewrite",
    "datatrove.DatatroveChoose": "pipelines.stages.datatrove.DatatroveChoose",
    "datatrove.DatatroveSetAside": "pipelines.stages.datatrove.DatatroveSetAside",
    "decontaminate.BenchmarkIndex": "pipelines.stages.decontaminate.BenchmarkIndex",
    "decontaminate.OverlapMeasure": "pipelines.stages.decontaminate.OverlapMeasure",
    "decontaminate.OverlapChoose": "pipelines.stages.decontaminate.OverlapChoose",
    "exact_dedup.HashMeasure": "pipelines.stages.exact_dedup.HashMeasure",
    "exact_dedup.ExactCompare": "pipelines.stages.exact_dedup.ExactCompare",
    "heuristics.GopherMeasure": "pipelines.stages.heuristics.GopherMeasure",
    "heuristics.RulesChoose": "pipelines.stages.heuristics.RulesChoose",
    "language.LanguageMeasure": "pipelines.stages.language.LanguageMeasure",
    "language.LanguageChoose": "pipelines.stages.language.LanguageChoose",
    "line_dedup.LineSpans": "pipelines.stages.line_dedup.LineSpans",
    "minhash_dedup.BandKeysMeasure": "pipelines.stages.minhash_dedup.BandKeysMeasure",
    "minhash_dedup.MinHashCompare": "pipelines.stages.minhash_dedup.MinHashCompare",
    "newlines.NewlinesRewrite": "pipelines.stages.newlines.NewlinesRewrite",
    "size.SizeMeasure": "pipelines.stages.size.SizeMeasure",
    "source_overlap.ShingleSampleMeasure": "pipelines.stages.source_overlap.ShingleSampleMeasure",
    "substring_dedup.PassageSpans": "pipelines.stages.substring_dedup.PassageSpans",
}


def stage_rules() -> dict[str, type]:
    """The rules of all stages, by label."""
    found = {}
    for label, rule in rule_versions.rules().items():
        root = rule.roots[0]
        value = getattr(importlib.import_module(root.module), root.name)
        if isinstance(value, type) and root.module.startswith("pipelines.stages."):
            found[label] = value
    return found


def test_no_rule_lost_the_name_under_which_runs_keep_its_output() -> None:
    """A class that moved away from its name here has to write it as ``rule_name``; a new rule gets
    a line.
    """
    assert sorted(rule_name(rule) for rule in stage_rules().values()) == sorted(NAMES.values())


@pytest.mark.parametrize("label", NAMES)
def test_a_rule_has_the_name_it_had(label: str) -> None:
    assert rule_name(stage_rules()[label]) == NAMES[label]


@dataclass(frozen=True)
class Lower:
    """As a stage's rule is written."""

    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class MovedLower:
    """The same rule at another place, with the name it had."""

    rule_name: ClassVar[str] = f"{__name__}.Lower"
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> dict[str, Any]:
        return {}


class Stricter(MovedLower):
    """A rule of its own that builds on another."""


def test_a_moved_rule_that_writes_its_name_keeps_its_keys() -> None:
    assert fingerprint(Lower())["rule"] == f"{__name__}.Lower"
    assert content_key(fingerprint(MovedLower())) == content_key(fingerprint(Lower()))


def test_a_subclass_does_not_take_the_written_name() -> None:
    assert fingerprint(Stricter())["rule"] == f"{__name__}.Stricter"


def test_where_a_datatrove_block_lies_is_in_no_key() -> None:
    """So the module of the blocks may move."""
    from pipelines.signals.datatrove_blocks import BlockUse
    from pipelines.stages.datatrove import DatatroveMeasure, DatatroveRewrite

    use = BlockUse("GopherQualityFilter", {"min_doc_words": 3}, "whitespace")
    for rule in (DatatroveMeasure(use), DatatroveRewrite(use)):
        assert fingerprint(rule)["settings"] == {
            "block": "GopherQualityFilter",
            "settings": {"min_doc_words": 3},
            "words": "whitespace",
            "tokenizers": [],
        }
