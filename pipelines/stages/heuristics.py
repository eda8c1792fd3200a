"""The heuristics stage: rule sets over measured signals; thresholds change in seconds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar
from unicodedata import unidata_version

import pyarrow as pa
from pydantic import Field

from artifacts.errors import UserError
from pipelines.signals import gopher
from pipelines.signals.rules import Rule, evaluate, rule_set
from pipelines.stages.base import RowVerdict, StageSettings, Step, Surroundings
from pipelines.stages.chunk_steps import ChooseStep, MeasureStep


class HeuristicsStage(StageSettings):
    """Measure the Gopher quality signals and drop what breaks a rule.

    Every rule is evaluated on every document; the verdict table keeps all of them as a bitmask, the
    selection gives the first as the reason.
    """

    kind: ClassVar[str] = "heuristics"

    rules: tuple[str, ...] = Field(
        default=("gopher_quality",), description="rule sets: gopher_quality, gopher_quality_zh"
    )
    thresholds: dict[str, float | None] = Field(
        default_factory=dict, description="override a threshold by name; null turns the rule off"
    )

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        measure = MeasureStep(f"{name}-gopher", GopherMeasure(), self.sources)
        return [
            measure,
            ChooseStep(name, RulesChoose(measure.name, self.chosen_rules(name)), self.sources),
        ]

    def chosen_rules(self, name: str) -> tuple[Rule, ...]:
        """All rules of the sets, with their thresholds. Raises: UserError for a threshold no set
        has.
        """
        known = {rule.option for rules in self.rules for rule in rule_set(rules)}
        for option in self.thresholds:
            if option not in known:
                raise UserError(
                    "no such threshold",
                    field=f"{name}.thresholds.{option}",
                    found=option,
                    allowed=sorted(known),
                )
        chosen: list[Rule] = []
        for rules in self.rules:
            options = {rule.option for rule in rule_set(rules)}
            chosen += rule_set(
                rules,
                {option: value for option, value in self.thresholds.items() if option in options},
            )
        return tuple(chosen)


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
    """Applies thresholds to the signals of one measure."""

    measure: str
    rules: tuple[Rule, ...]
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.measure,)

    def settings(self) -> dict[str, Any]:
        return {"rules": [asdict(rule) for rule in self.rules]}

    def choose(self, signals: dict[str, pa.Table]) -> RowVerdict:
        rules, reason = evaluate(signals[self.measure], self.rules)
        return RowVerdict(tuple(rule.reason for rule in self.rules), rules, reason)
