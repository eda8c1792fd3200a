"""Stages over documents, by the name a recipe uses.

    settings ─ steps() ─▶ measures, rewrites, choices, comparisons, cuts, each with its rule

A stage is a frozen pydantic model (its settings) that expands into steps; a step carries a rule, a
small frozen object with a version, its settings and a pure function (see
:mod:`pipelines.stages.base`). ``STAGES`` has all of them. To add one, write its model and rules in
a file of their own and list the class here::

    class MyStage(StageSettings):
        kind = "my_stage"
        def steps(self, around, name):
            return [MeasureStep(name, MyMeasure(), self.sources)]

What a recipe's stages come to:

>>> from pipelines.recipe.load import load_recipe
>>> from pipelines.run.work_plan import plan_steps
>>> stages = "corpus.stages=[exact_dedup, language: {keep: [en]}]"
>>> steps = plan_steps(load_recipe("recipe.yaml", [stages]))
>>> [(step.name, type(step).__name__) for step in steps if step.name == "language"]
[('language', 'MeasureStep'), ('language', 'ChooseStep')]
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
