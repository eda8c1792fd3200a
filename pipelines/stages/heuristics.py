"""The heuristics stage: rule sets over measured signals; thresholds change in seconds.

A rule set (:mod:`pipelines.signals.rule_sets`) names the measure whose columns its rules are over.
To add a measure, write its rule in a file of its own and list it in :data:`MEASURES`. The
dictionary is read at each call, so a program may add to it while it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar
from unicodedata import unidata_version

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from artifacts.errors import UserError
from artifacts.settings import key_settings
from pipelines.signals import gopher
from pipelines.signals.rule_sets import RULE_SETS, named_rules
from pipelines.signals.rules import MOST_RULES, Rule, RuleSet, evaluate
from pipelines.stages.base import Measure, RowVerdict, StageSettings, Step, Surroundings
from pipelines.stages.chunk_steps import ChooseStep, MeasureStep


class HeuristicsStage(StageSettings):
    """Measure the Gopher quality signals and drop what breaks a rule.

    Every rule is evaluated on every document; the verdict table keeps all of them as a bitmask, the
    selection gives the first as the reason.
    """

    kind: ClassVar[str] = "heuristics"

    rules: tuple[str, ...] = Field(
        default=("gopher_quality",), description=f"rule sets: {', '.join(RULE_SETS)}"
    )
    thresholds: dict[str, float | None] = Field(
        default_factory=dict, description="override a threshold by name; null turns the rule off"
    )

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        chosen = self.chosen_rules(name)
        measures = {
            measure: MeasureStep(f"{name}-{measure}", _named_measure(measure), self.sources)
            for measure, _ in chosen
        }
        judged = tuple((measures[measure].name, rules) for measure, rules in chosen)
        return [*measures.values(), ChooseStep(name, RulesChoose(judged), self.sources)]

    def chosen_rules(self, name: str) -> list[tuple[str, tuple[Rule, ...]]]:
        """All rules of the sets in their order, with their thresholds: for each measure the rules
        over it, again where another one's come between. Raises: UserError for a threshold no set
        has, or more rules than a verdict has bits for.
        """
        sets = [named_rules(rules) for rules in self.rules]
        known = {option for rules in sets for option in rules.options}
        for option in self.thresholds:
            if option not in known:
                raise UserError(
                    "no such threshold",
                    field=(name, "thresholds", option),
                    found=option,
                    allowed=sorted(known),
                )
        chosen = [(rules.measure, self._with_thresholds(rules)) for rules in sets]
        count = sum(len(rules) for _, rules in chosen)
        if count > MOST_RULES:
            raise UserError(
                f"one stage applies at most {MOST_RULES} rules",
                field=f"{name}.rules",
                found=f"{count} rules",
                fix="spread the rule sets over several heuristics stages",
            )
        return [
            (measure, tuple(rule for _, rules in adjacent for rule in rules))
            for measure, adjacent in groupby(chosen, lambda pair: pair[0])
        ] or [(NO_SETS, ())]

    def _with_thresholds(self, rules: RuleSet) -> tuple[Rule, ...]:
        return rules.with_thresholds(
            {name: value for name, value in self.thresholds.items() if name in rules.options}
        )


@dataclass(frozen=True)
class GopherMeasure:
    """The Gopher quality signals (Rae et al. 2021), one pass over the bytes."""

    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numba",)

    def settings(self) -> dict[str, Any]:
        return {"unicode": unidata_version}

    def fields(self) -> list[pa.Field]:
        return list(gopher.COLUMNS)

    def measure(self, documents: pa.RecordBatch, resource: pa.Table | None) -> list[pa.Array]:
        return list(gopher.measure(documents["text"]).columns)


@dataclass(frozen=True)
class RulesChoose:
    """Applies thresholds to signals; ``judged``: steps that measure, each with rules over its
    columns.
    """

    judged: tuple[tuple[str, tuple[Rule, ...]], ...]
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(measure for measure, _ in self.judged))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All of them, in the order of the bits."""
        return tuple(rule for _, rules in self.judged for rule in rules)

    def settings(self) -> dict[str, Any]:
        rules = {"rules": [key_settings(rule) for rule in self.rules]}
        if len(self.needs) == 1:
            return rules
        return rules | {"over": [[measure, len(rules)] for measure, rules in self.judged]}

    def choose(self, signals: dict[str, pa.Table]) -> RowVerdict:
        names = tuple(rule.reason for rule in self.rules)
        (measure, first), *others = self.judged
        mask, reason = evaluate(signals[measure], first)
        bits = len(first)
        for measure, rules in others:
            fires, why = evaluate(signals[measure], rules)
            mask |= fires << np.uint64(bits)
            reason = pc.coalesce(reason, why)
            bits += len(rules)
        return RowVerdict(names, mask, reason)


MEASURES: dict[str, Measure] = {"gopher": GopherMeasure()}
"""Measures that rule sets may name; the step of one is called STAGE-NAME."""

NO_SETS = "gopher"
"""What is measured where a recipe asks for no rule set."""


def _named_measure(name: str) -> Measure:
    """The measure of this name. Raises: UserError for an unknown one."""
    if name not in MEASURES:
        raise UserError(
            "a rule set is over a measure that is not there", found=name, allowed=MEASURES
        )
    return MEASURES[name]
