"""Every package opens with one screen: a drawing, the names one needs, and an example that runs."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import shutil
from pathlib import Path

import pytest

from pipelines.recipe.load import load_recipe
from pipelines.run.driver import run_recipe
from tests.source_trees import tree_of

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ["artifacts", "dedup", "tokenizer", "mixtures", "trainer", "pipelines"]
PACKAGES = [
    ".".join(path.parent.relative_to(ROOT).parts)
    for floor in FLOORS
    for path in sorted((ROOT / floor).rglob("__init__.py"))
]
SCREEN = 45  # lines
TRAINED = [
    "name=trained",
    "corpus.stages=[newlines]",
    "shards={hold_out: 0.1}",
    "tokenizer={vocab_size: 512, sample: {web: 1}, sample_mib: 1}",
    "mixture={phases: [{name: stable, tokens: 4096, weights: {web: 1}}, {name: decay, decay: true,"
    " tokens: 2048, weights: {web: 0.5, instructions: 0.5}}]}",
    "model={preset: tiny, width: 64, layers: 1, heads: 2, kv_heads: 1, head_dim: 32, ff: 128, dim_model_base: 64}",
    "train={sequence_length: 64, batch_tokens: 512, checkpoint_every: 4, threads: 1,"
    " tensorboard: false, schedule: {kind: wsd, peak: 0.01, warmup: 2}}",
]


def docstring(package: str) -> str:
    path = ROOT / package.replace(".", "/") / "__init__.py"
    return ast.get_docstring(tree_of(path)) or ""


@pytest.fixture(scope="module")
def folder(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples speak of: the starter and its run, and a run that trained."""
    copy = tmp_path_factory.mktemp("tutorials") / "workshop"
    shutil.copytree(workshop, copy)
    run_recipe(load_recipe(copy / "recipe.yaml", TRAINED), str(copy / "runs"))
    return copy


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_opens_with_a_drawing_and_an_example_on_one_screen(package: str) -> None:
    lines = docstring(package).splitlines()
    assert len(lines[0]) <= 100
    assert lines[0].endswith(".")
    assert len(lines) <= SCREEN
    assert any(
        line.startswith("    ") and re.search("[─▶⇄]|\\w {3,}\\w", line) for line in lines
    ), "no drawing"
    assert any(line.startswith(">>> ") for line in lines), "no example"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_example_of_a_package_runs(
    package: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    module = importlib.import_module(package)
    example = doctest.DocTestParser().get_doctest(
        module.__doc__ or "", {}, package, str(module.__file__), 0
    )
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    result = runner.run(example, out=report.append)
    assert result.attempted > 1
    assert result.failed == 0, "".join(report)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_names_is_there(package: str) -> None:
    """Cross-references in the docstring of a package lead to a module, or a name in one."""
    for target in references(docstring(package)):
        if find_module(target) is None:
            home, _, name = target.rpartition(".")
            module = find_module(home)
            assert hasattr(module, name), target


def references(text: str) -> list[str]:
    return re.findall(r":(?:mod|func|class|data):`~?([\w.]+\.[\w.]+)`", text)


def find_module(name: str) -> object | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None
