"""Writes the starter: a recipe and a small corpus, ready to run anywhere."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from artifacts.errors import UserError

FILES = {
    "recipe.yaml": ("recipe.yaml",),
    "data/web.jsonl": ("web.jsonl",),
    "data/instructions.jsonl": ("instructions.jsonl",),
    "data/benchmark.jsonl": ("benchmark.jsonl",),
}
"""Each file of the starter, and the files here that it is put together from."""

TRAINED = FILES | {"recipe.yaml": ("recipe.yaml", "training.yaml")}
"""The same where the recipe also trains a model."""


def write_starter(folder: Path, train: bool = False) -> list[Path]:
    """Write the starter's files; nothing is overwritten.

    train: with a recipe that also trains a tiny model.
    Raises: UserError when one of them exists already, or the folder is a file or cannot be written
    to.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(
            "this is a file, not a folder",
            file=folder,
            fix="name a folder; it is made if it is not there",
        )
    targets = {folder / place: parts for place, parts in (TRAINED if train else FILES).items()}
    for target in targets:
        if target.exists():
            raise UserError(
                "this file exists already; nothing was written",
                file=target,
                fix="choose another folder, or remove it",
            )
    package = resources.files("pipelines.starter")
    for target, parts in targets.items():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"".join((package / part).read_bytes() for part in parts))
        except OSError as error:
            raise UserError(
                f"cannot write here: {error.strerror or error}",
                file=target,
                fix="choose another folder",
            ) from error
    return list(targets)
