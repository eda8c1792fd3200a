"""Steps carry themselves out: outside their room nobody asks of which kind one is."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

from pipelines.chunks.reading import ReadStep, RemoveRowsStep
from pipelines.readers import Fields, Limits
from pipelines.recipe.load import load_recipe
from pipelines.run.work_plan import plan_corpus
from tests.source_trees import tree_of

PIPELINES = Path(__file__).resolve().parent.parent.parent / "pipelines"
STAGES = PIPELINES / "stages"
OTHER_STEPS = (PIPELINES / "chunks" / "reading.py",)


def classes(path: Path) -> set[str]:
    tree = tree_of(path)
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def asked_for(node: ast.Call) -> set[str]:
    """Names in the classes that an isinstance or issubclass asks for."""
    if not isinstance(node.func, ast.Name) or node.func.id not in ("isinstance", "issubclass"):
        return set()
    names = set()
    for part in ast.walk(node.args[1]):
        if isinstance(part, ast.Name):
            names.add(part.id)
        elif isinstance(part, ast.Attribute):
            names.add(part.attr)
    return names


def test_nobody_outside_asks_of_which_kind_a_step_a_rule_or_a_stage_is() -> None:
    kinds = set().union(*(classes(path) for path in (*STAGES.rglob("*.py"), *OTHER_STEPS)))
    assert {"MeasureStep", "CompareStep", "MinHashCompare", "MinHashDedupStage"} <= kinds
    found = []
    for path in sorted(PIPELINES.rglob("*.py")):
        if STAGES in path.parents:
            continue
        for node in ast.walk(tree_of(path)):
            asked = asked_for(node) if isinstance(node, ast.Call) else set()
            if isinstance(node, ast.MatchClass):
                asked = {part.id for part in ast.walk(node.cls) if isinstance(part, ast.Name)}
            if asked & kinds:
                found.append(f"{path.relative_to(PIPELINES)}:{node.lineno} {asked & kinds}")
    assert found == []


def test_what_travels_with_a_chunks_task_is_small(starter: Path) -> None:
    plan = plan_corpus(load_recipe(starter), {})
    steps = (ReadStep("jsonl", Fields(), Limits()), RemoveRowsStep((1, 2), 100), *plan.ahead())
    assert len(steps) > 3
    assert max(len(pickle.dumps(step)) for step in steps) < 2_000
