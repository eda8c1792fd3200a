"""The base serves curation and deduplication; what needs an extra says in one line which."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from artifacts.extras import EXTRAS, extra_of, has

WITHOUT = """
import sys
hidden = {names!r}
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hide())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in hidden else found(name, *rest)
from pipelines.launch import main
sys.argv = ["windtunnel", *sys.argv[1:]]
main()
"""
ALL = sorted(name for names in EXTRAS.values() for name in names)
RECIPE = """
name: small
corpus:
  sources: [{{name: web, paths: [web.jsonl], id_field: id}}]
  stages: [exact_dedup{stage}]
tokenizer: {{vocab_size: 512}}
mixture:
  phases: [{{name: stable, tokens: 2048, weights: {{web: 1}}}}]
model: {{preset: tiny}}
train: {{sequence_length: 64, batch_tokens: 512, schedule: {{kind: constant, peak: 0.01, warmup: 1}}}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    letters = random.Random(1)
    words = ["".join(letters.choices("abcdefghijklmnopqrst", k=k % 7 + 2)) for k in range(900)]
    rows = [{"id": str(n), "text": " ".join(letters.choices(words, k=40))} for n in range(200)]
    (tmp_path / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(stage=""))
    return tmp_path / "recipe.yaml"


DISTRIBUTIONS = {"sklearn": "scikit-learn"}
"""Distributions by the modules that have another name."""


def windtunnel(folder: Path, names: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command where some modules cannot be imported."""
    code = WITHOUT.format(names=set(names))
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True
    )


def test_the_table_is_that_of_the_distribution(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    base = {re.split("[<>=]", name)[0] for name in project["dependencies"]}
    for extra, modules in EXTRAS.items():
        names = [DISTRIBUTIONS.get(module, module) for module in modules]
        assert {re.split("[<>=]", name)[0] for name in extras[extra]} == set(names)
        assert not base & set(names)
    named = base.union(*({re.split("[<>=]", one)[0] for one in extras[extra]} for extra in EXTRAS))
    card = {"datatrove", "datasketch", "pyarrow", "polars", "sentencepiece", "torch", "dask"}
    assert card | {"fasttext-numpy2-wheel"} <= named
    assert set(re.findall(r"\w+", extras["all"][0])) == {"windtunnel", *EXTRAS, "cloud"}


def test_every_extra_has_a_row_in_the_page_on_installing(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    rows = re.findall(r"^\| `(\w+)` \|", (root / "docs" / "install.md").read_text(), flags=re.M)
    assert sorted(rows) == sorted(project["optional-dependencies"])


def test_modules_are_known_by_their_extra() -> None:
    assert extra_of("torch.nn") == "train"
    assert extra_of("distributed") == "dask"
    assert extra_of("numpy") is None
    assert extra_of(None) is None
    assert all(has(extra) for extra in EXTRAS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "store"), [("s3fs", "s3"), ("gcsfs", "gs"), ("huggingface_hub", "hf")]
)
@pytest.mark.parametrize(
    "call",
    [
        ("report", "{}://a/b/runs/small"),
        ("run", "recipe.yaml", "--runs", "{}://a/b/runs", "--until", "corpus"),
        ("dedup", "run", "{}://a/b/*.jsonl", "-o", "out"),
    ],
)
def test_a_store_without_its_package_names_the_command_that_brings_it(
    recipe: Path, root: Path, module: str, store: str, call: tuple[str, ...]
) -> None:
    done = windtunnel(recipe.parent, [module], *(part.format(store) for part in call))
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "pip install 'windtunnel[cloud]'" in done.stderr
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    brought = {re.split("[<>=]", one)[0] for one in project["optional-dependencies"]["cloud"]}
    assert module.replace("_", "-") in brought


@pytest.mark.slow
def test_the_base_alone_curates_deduplicates_and_makes_shards(recipe: Path) -> None:
    folder = recipe.parent
    for call in (
        ("run", "recipe.yaml", "--until", "shards"),
        ("dedup", "run", "web.jsonl", "-o", "out", "--id-field", "id"),
        ("corpus", "export", "small", "-o", "dataset"),
        ("report", "small"),
        ("tokenizer", "export", "small", "exported"),
        ("mixture", "plan", "recipe.yaml", "--output", "plan.json", "--plot", "plan.svg"),
        ("mixture", "check", "plan.json", "--shards", "runs/small/shards", "--deep"),
        ("schedule", "show", "{kind: constant}", "--steps", "1"),
        ("model", "describe", "tiny"),
        ("train", "recipe.yaml", "--roofline"),
        ("shards", "verify", "small"),
        ("doctor",),
    ):
        done = windtunnel(folder, ALL, *call)
        assert done.returncode == 0, (call, done.stderr)
    assert "pip install 'windtunnel[train]'" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "call", "asked"),
    [
        ("train", ("run", "recipe.yaml", "--workers", "1"), "--until"),
        ("train", ("train", "recipe.yaml"), None),
        ("train", ("generate", "runs/small", "a"), None),
        ("dask", ("run", "recipe.yaml", "--workers", "2", "--until", "corpus"), "--workers"),
        ("dask", ("run", "recipe.yaml", "--scheduler", "tcp://127.0.0.1:1"), "--scheduler"),
        ("export", ("tokenizer", "export", "small", "out", "--check", "web.jsonl"), "--check"),
        ("evaluate", ("evaluate", "out", "--harness", "gsm8k_cot=gsm8k.jsonl"), "--harness"),
        ("datatrove", ("run", "recipe.yaml", "--executor", "datatrove", "--until", "corpus"), "--executor"),
        ("datatrove", ("run", "block.yaml", "--until", "corpus"), None),
    ],
)  # fmt: skip
def test_what_needs_an_extra_says_which_before_anything_is_made(
    recipe: Path, extra: str, call: tuple[str, ...], asked: str | None
) -> None:
    block = ", {datatrove: {block: C4QualityFilter}}"
    solved = {"question": "What is 1 + 1?", "answer": "#### 2"}
    (recipe.parent / "gsm8k.jsonl").write_text(json.dumps(solved) + "\n")
    (recipe.parent / "block.yaml").write_text(RECIPE.format(stage=block))
    done = windtunnel(recipe.parent, list(EXTRAS[extra]), *call)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert f"needs the extra '{extra}'" in done.stderr
    assert f"pip install 'windtunnel[{extra}]'" in done.stderr
    assert asked is None or re.search(rf"^ *(field|option|parameter): +{asked}$", done.stderr, re.M), done.stderr  # fmt: skip
    assert not (recipe.parent / "runs").exists()
