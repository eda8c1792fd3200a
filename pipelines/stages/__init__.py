"""Stages over documents, by the name a recipe uses.

A stage is a frozen pydantic model (its settings) that expands into steps: measures, rewrites,
choices, comparisons and cuts (see :mod:`pipelines.stages.base`). To add one, write its model and
rules in a file of their own and list the class here::

    class MyStage(StageSettings):
        kind = "my_stage"
        def steps(self, around, name):
            return [MeasureStep(name, MyMeasure(), self.sources)]
"""

from __future__ import annotations

from pipelines.stages.base import StageSettings
from pipelines.stages.datatrove import DatatroveStage
from pipelines.stages.decontaminate import DecontaminateStage
from pipelines.stages.exact_dedup import ExactDedupStage
from pipelines.stages.heuristics import HeuristicsStage
from pipelines.stages.language import LanguageStage
from pipelines.stages.line_dedup import LineDedupStage
from pipelines.stages.minhash_dedup import MinHashDedupStage
from pipelines.stages.newlines import NewlinesStage
from pipelines.stages.source_overlap import SourceOverlapStage
from pipelines.stages.substring_dedup import SubstringDedupStage

STAGES: dict[str, type[StageSettings]] = {
    stage.kind: stage
    for stage in (
        DatatroveStage,
        DecontaminateStage,
        ExactDedupStage,
        HeuristicsStage,
        LanguageStage,
        LineDedupStage,
        MinHashDedupStage,
        NewlinesStage,
        SourceOverlapStage,
        SubstringDedupStage,
    )
}
