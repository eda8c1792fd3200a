"""The heuristics stage: rule sets over measured signals; thresholds change in seconds.

A rule set (:mod:`pipelines.signals.rule_sets`) names the measure whose columns its rules are over.
To add a measure, write its rule in a file of its own and list it in :data:`MEASURES`. The
dictionary is read at each call, so a program may add to it while it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar, Literal
from unicodedata import unidata_version

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from artifacts.errors import UserError
from artifacts.settings import key_settings
from pipelines.signals import gopher
from pipelines.signals.document_language import document_languages, language_code
from pipelines.signals.language_names import LANGUAGES
from pipelines.signals.rule_sets import RULE_SETS, named_rules
from pipelines.signals.rules import MOST_RULES, Rule, RuleSet, evaluate
from pipelines.stages.base import Measure, RowVerdict, StageSettings, Step, Surroundings
from pipelines.stages.chunk_steps import DOCUMENTS_READ, ChooseStep, MeasureStep
from pipelines.stages.verdicts import Judged, first_reason


class HeuristicsStage(StageSettings):
    """Measure the Gopher quality signals and drop what breaks a rule.

    A rule set is for some languages, and applied to documents of these: the language that a
    language stage of the recipe finds, wherever it stands, else the document's ``lang``. Documents
    in other languages stay, and are counted as not judged; those of which no language is known are
    judged by all sets. Every rule that applies is evaluated; the verdict table keeps all of them as
    a bitmask, the selection gives the first as the reason.
    """

    kind: ClassVar[str] = "heuristics"

    rules: tuple[str, ...] = Field(
        default=("gopher_quality",), description=f"rule sets: {', '.join(RULE_SETS)}"
    )
    thresholds: dict[str, float | None] = Field(
        default_factory=dict, description="override a threshold by name; null turns the rule off"
    )
    languages: tuple[str, ...] | Literal["all"] | None = Field(
        default=None,
        description="ISO 639 codes the rule sets are applied to, or all; default: each set's own",
    )

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        chosen = self.chosen_rules(name)
        measures = {
            measure: MeasureStep(f"{name}-{measure}", _named_measure(measure), self.sources)
            for measure, _ in chosen
        }
        judged = tuple((measures[measure].name, rules) for measure, rules in chosen)
        applied = self._applied(name)
        if all(rules.languages is None for rules in applied):
            choose = ChooseStep(name, RulesChoose(judged, applied), self.sources)
            return [*measures.values(), choose]
        rule = RulesChoose(judged, applied, around.languages)
        choose = ChooseStep(name, rule, self.sources, around.languages, ("lang",))
        return [*around.ahead, *measures.values(), choose]

    def _applied(self, name: str) -> tuple[Applied, ...]:
        """The sets in their order, with the languages they are applied to. Raises: UserError."""
        own: tuple[str, ...] | None = None
        if isinstance(self.languages, tuple):
            codes = [(code, language_code(code)) for code in self.languages]
            for written, code in codes:
                if code is None:
                    raise UserError(
                        "no such language",
                        field=(name, "languages"),
                        found=written,
                        allowed=["all", *LANGUAGES],
                        fix="use codes of ISO 639, or all",
                    )
            own = tuple(sorted({code for _, code in codes if code is not None}))
        sets = [named_rules(rules) for rules in self.rules]
        return tuple(
            Applied(
                rules.name,
                len(self._with_thresholds(rules)),
                rules.languages if self.languages is None else own,
            )
            for rules in sets
        )

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
class Applied:
    """A rule set of so many rules, and the languages whose documents it is applied to; None for
    all.
    """

    name: str
    rules: int
    languages: tuple[str, ...] | None


@dataclass(frozen=True)
class RulesChoose:
    """Applies thresholds to signals; ``judged``: steps that measure, each with rules over its
    columns.

    sets: what these rules come from, in the same order; none: all apply to every document.
    identified: measures of languages, of which the first that a document has decides.
    """

    judged: tuple[tuple[str, tuple[Rule, ...]], ...]
    sets: tuple[Applied, ...] = ()
    identified: tuple[str, ...] = ()
    version: ClassVar[int] = 2
    libraries: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(measure for measure, _ in self.judged))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All of them, in the order of the bits."""
        return tuple(rule for _, rules in self.judged for rule in rules)

    @property
    def _for_all(self) -> bool:
        return all(applied.languages is None for applied in self.sets)

    def settings(self) -> dict[str, Any]:
        rules: dict[str, Any] = {"rules": [key_settings(rule) for rule in self.rules]}
        if not self._for_all:
            rules["sets"] = [key_settings(applied) for applied in self.sets]
            rules["identified"] = list(self.identified)
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
        if self._for_all:
            return RowVerdict(names, mask, reason)
        judged = self._judged(signals)
        mask &= self._bits(judged)
        return RowVerdict(names, mask, first_reason(names, mask), judged)

    def _judged(self, signals: dict[str, pa.Table]) -> Judged:
        """Which documents each set is applied to."""
        identified = [signals[name]["language"] for name in self.identified if name in signals]
        found = identified[0] if identified else None
        languages = document_languages(found, signals[DOCUMENTS_READ]["lang"])
        everybody = np.ones(len(languages), np.bool_)
        unknown = languages.is_null().to_numpy(zero_copy_only=False)
        return Judged(
            {
                applied.name: everybody
                if applied.languages is None
                else unknown
                | pc.is_in(languages, pa.array(applied.languages, pa.string())).to_numpy(
                    zero_copy_only=False
                )
                for applied in self.sets
            },
            languages,
        )

    def _bits(self, judged: Judged) -> NDArray[np.uint64]:
        """The bits of the rules that apply to each document."""
        bits = np.zeros(len(judged.languages), np.uint64)
        place = 0
        for applied in self.sets:
            own = ((1 << applied.rules) - 1) << place
            bits |= np.where(judged.sets[applied.name], np.uint64(own), np.uint64(0))
            place += applied.rules
        return bits


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
