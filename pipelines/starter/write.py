"""Writes the starter: a recipe and a small corpus, ready to run anywhere."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from artifacts.errors import UserError

FILES = {
    "recipe.yaml": "recipe.yaml",
    "web.jsonl": "data/web.jsonl",
    "instructions.jsonl": "data/instructions.jsonl",
    "benchmark.jsonl": "data/benchmark.jsonl",
}


def write_starter(folder: Path) -> list[Path]:
    """Write the starter's files; nothing is overwritten.

    Raises: UserError when one of them exists already, or the folder is a file or cannot be written
    to.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(
            "this is a file, not a folder",
            file=folder,
            fix="name a folder; it is made if it is not there",
        )
    targets = {name: folder / place for name, place in FILES.items()}
    for target in targets.values():
        if target.exists():
            raise UserError(
                "this file exists already; nothing was written",
                file=target,
                fix="choose another folder, or remove it",
            )
    package = resources.files("pipelines.starter")
    for name, target in targets.items():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((package / name).read_bytes())
        except OSError as error:
            raise UserError(
                f"cannot write here: {error.strerror or error}",
                file=target,
                fix="choose another folder",
            ) from error
    return list(targets.values())
