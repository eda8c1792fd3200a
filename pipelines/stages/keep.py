"""The keep policy of a stage: over the columns measured before it."""

from __future__ import annotations

from artifacts.errors import Address
from pipelines.corpus.keep_policy import KeepPolicy, parse_keep_policy
from pipelines.stages.base import Surroundings
from pipelines.stages.heuristics import MEASURES, HeuristicsStage
from pipelines.stages.language import LanguageMeasure, LanguageStage


def keep_policy(
    text: str, around: Surroundings, field: Address, prefer: tuple[str, ...] = ()
) -> KeepPolicy:
    """Parse a stage's policy. Raises: UserError, which names the stage that would measure a missing
    column.
    """
    return parse_keep_policy(text, around.columns, field, prefer, measured_by())


def measured_by() -> dict[str, str]:
    """Columns that a recipe can ask a stage to measure, with the stage of each."""
    by_language = LanguageMeasure(LanguageStage().max_bytes).fields()
    by_heuristics = [field for measure in MEASURES.values() for field in measure.fields()]
    return {field.name: LanguageStage.kind for field in by_language} | {
        field.name: HeuristicsStage.kind for field in by_heuristics
    }
