"""Versions of the rules that decide bytes, held against the code behind them.

A rule's version is part of every content key. This module hashes, for each rule, the code that its
output depends on (its module and everything of this house that it imports, comments and docstrings
left out) and keeps version and hash in ``rule_versions.json``. A test compares; code that changed
under an unchanged version fails it. After raising the version::

    python -m pipelines.run.rule_versions     # records the new hashes
"""

from __future__ import annotations

import ast
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.chunks import reading
from pipelines.comparisons import equal_keys
from pipelines.comparisons import quality as dedup_quality
from pipelines.comparisons.near import candidates, decide, gather, rounds, verify
from pipelines.comparisons.spans import cut
from pipelines.shards import encode, write
from pipelines.shards import split_work as band_work
from pipelines.shards import tokenizer as shard_tokenizer
from pipelines.stages import (
    base,
    conversations,
    datatrove,
    decontaminate,
    exact_dedup,
    heuristics,
    language,
    line_dedup,
    minhash_dedup,
    newlines,
    size,
    source_overlap,
    substring_dedup,
)
from pipelines.writers import kept_documents, run_tables

HOUSE = Path(__file__).resolve().parent.parent.parent
RECORD = Path(__file__).with_name("rule_versions.json")
FLOORS = ("artifacts", "dedup", "tokenizer", "mixtures", "trainer", "pipelines")

# Code that carries bytes but does not choose them: a change here changes no output.
CARRIERS = frozenset(
    f"artifacts.{name}"
    for name in ("errors", "ledger", "lock", "paths", "publish", "fingerprints", "jit")
) | {
    "pipelines.recipe.load",
    "pipelines.recipe.yaml_lines",
    "pipelines.stages",
    "pipelines.stages.base",
    "pipelines.stages.chunk_steps",
    "pipelines.stages.chunk_work",
    "pipelines.corpus.chunk",
}


def rules() -> dict[str, tuple[int, str]]:
    """Every rule: label -> (version, module whose code decides its output)."""
    found: dict[str, tuple[int, str]] = {
        "read": (reading.ReadStep.version, "pipelines.readers"),
        "unique": (reading.RemoveRowsStep.version, "pipelines.chunks.reading"),
        "equal_keys": (equal_keys.VERSION, "pipelines.comparisons.equal_keys"),
        "run_tables": (run_tables.VERSION, "pipelines.writers.run_tables"),
        "span_cut": (cut.VERSION, "pipelines.comparisons.spans.cut"),
        "dedup_quality": (dedup_quality.VERSION, "pipelines.comparisons.quality"),
        "bands": (band_work.BANDS_VERSION, "pipelines.shards.split_work"),
        "kept_documents": (kept_documents.VERSION, "pipelines.writers.kept_documents"),
        "near.candidates": (candidates.VERSION, "pipelines.comparisons.near.candidates"),
        "near.gather": (gather.VERSION, "pipelines.comparisons.near.gather"),
        "near.verify": (verify.VERSION, "pipelines.comparisons.near.verify"),
        "near.rounds": (rounds.VERSION, "pipelines.comparisons.near.rounds"),
        "near.decide": (decide.VERSION, "pipelines.comparisons.near.decide"),
        "tokenizer": (shard_tokenizer.TOKENIZER_VERSION, "tokenizer.train"),
        "encode": (encode.ENCODE_VERSION, "tokenizer.chat"),
        "shards": (write.SHARDS_VERSION, "tokenizer.shards.writer"),
    }
    deduplication = (exact_dedup, minhash_dedup, substring_dedup, line_dedup)
    choosing = (language, heuristics, *deduplication, decontaminate)
    for module in (size, conversations, newlines, *choosing, datatrove, source_overlap):
        for name, value in vars(module).items():
            if (
                isinstance(value, type)
                and value.__module__ == module.__name__
                and isinstance(getattr(value, "version", None), int)
            ):
                found[f"{module.__name__.rsplit('.', 1)[-1]}.{name}"] = (
                    vars(value)["version"],
                    module.__name__,
                )
    return found


def current() -> dict[str, dict[str, Any]]:
    """Version and code hash of every rule, as the sources are now."""
    return {
        label: {"version": version, "code": code_hash(module)}
        for label, (version, module) in sorted(rules().items())
    }


def recorded() -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = json.loads(RECORD.read_text())
    return loaded


def stale(now: dict[str, dict[str, Any]], then: dict[str, dict[str, Any]]) -> list[str]:
    """Rules whose code changed while their version did not, and rules never recorded, each with the
    fix.
    """
    problems = []
    for label, entry in now.items():
        known = then.get(label)
        if known is None:
            problems.append(f"{label}: not recorded; run make versions")
        elif known["code"] != entry["code"] and known["version"] == entry["version"]:
            problems.append(
                f"{label}: its code changed, its version is still {entry['version']}; raise it, "
                "then run make versions"
            )
        elif known != entry:
            problems.append(
                f"{label}: version {entry['version']} is not recorded; run make versions"
            )
    return problems + [
        f"{label}: recorded, but no longer a rule; run make versions"
        for label in then
        if label not in now
    ]


@cache
def code_hash(module: str) -> str:
    """Hash of a module's code and of all code of the house that it imports, carriers left out."""
    digest = hashlib.blake2b(digest_size=10)
    for name in sorted(_closure(module)):
        digest.update(name.encode() + b"\0" + _normalised(name).encode() + b"\0")
    return digest.hexdigest()


def _closure(module: str) -> set[str]:
    seen: set[str] = set()
    queue = [module]
    while queue:
        name = queue.pop()
        if name in seen or name in CARRIERS:
            continue
        seen.add(name)
        queue += _imports(name)
        if _file(name).name == "__init__.py":
            queue += [
                f"{name}.{path.stem}"
                for path in _file(name).parent.glob("*.py")
                if path.stem != "__init__"
            ]
    return seen


@cache
def _imports(module: str) -> tuple[str, ...]:
    found = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in FLOORS:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if _is_module(name) else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] in FLOORS}
    return tuple(sorted(found))


def _file(module: str) -> Path:
    path = HOUSE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_module(name: str) -> bool:
    return _file(name).is_file()


def _tree(module: str) -> ast.Module:
    """The module without the imports that only type checkers see."""
    tree = ast.parse(_file(module).read_text(encoding="utf-8"))
    tree.body = [
        node
        for node in tree.body
        if not (
            isinstance(node, ast.If)
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
        )
    ]
    return tree


@cache
def _normalised(module: str) -> str:
    tree = _tree(module)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def main() -> None:
    RECORD.write_text(json.dumps(current(), indent=1) + "\n")
    print(f"recorded {len(current())} rules in {RECORD.name}")


if __name__ == "__main__":
    main()

__all__ = ["base", "code_hash", "current", "recorded", "rules", "stale"]
