"""The tasks that a recipe asks to be scored on, read and checked before there is a corpus."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from artifacts.errors import Address, UserError
from artifacts.fingerprints import file_digest
from pipelines.readers import FORMATS, discover
from pipelines.recipe.after import TaskFiles
from pipelines.recipe.load import LoadedRecipe
from pipelines.recipe.name import LONGEST_NAME, NAME
from trainer.evaluation.tasks.items import Task
from trainer.evaluation.tasks.layouts import read_task


@dataclass(frozen=True)
class AskedTask:
    """A task of a recipe, with what its scores are keyed by: digests of its files, as many items of
    them as are asked.
    """

    task: Task
    digests: tuple[str, ...]
    limit: int | None


def asked_tasks(loaded: LoadedRecipe) -> list[AskedTask]:
    """The tasks of a recipe, in order; none where it asks for none.

    Raises: UserError for files that are not there or are no benchmark, and for two tasks of one
    name.
    """
    settings = loaded.recipe.evaluate
    if settings is None:
        return []
    found: dict[str, AskedTask] = {}
    for number, entry in enumerate(settings.tasks):
        address = ("evaluate", "tasks", number)
        for name, files in _files(loaded, entry, address):
            if name in found:
                raise loaded.file.error(
                    address,
                    "two tasks have one name",
                    found=name,
                    fix="give one of them another name, as in {name: other, paths: [...]}",
                )
            task = _read(loaded, entry, address, name, files, settings.limit)
            digests = tuple(str(file_digest(url)) for url in files)
            found[name] = AskedTask(task, digests, settings.limit)
    return [*found.values()]


def _files(
    loaded: LoadedRecipe, entry: TaskFiles, address: Address
) -> Iterator[tuple[str, list[str]]]:
    """Names of tasks with their files."""
    try:
        # any declared format: a benchmark's suffix tells none
        files = discover(None, entry.paths, next(iter(FORMATS)), loaded.folder)
    except UserError as error:
        raise error.relocated(lambda field: loaded.place((*address, "paths"))) from None
    groups = [[file] for file in files] if entry.each else [files]
    for group in groups:
        name = entry.name or PurePosixPath(group[0].path).name.split(".")[0]
        if len(name) > LONGEST_NAME or not re.match(NAME, name):
            raise loaded.file.error(
                (*address, "paths"),
                "a task is named after its first file, and this is no name for one",
                found=name,
                fix="give it one, as in {name: other, paths: [...]}",
            )
        yield name, [file.url for file in group]


def _read(
    loaded: LoadedRecipe,
    entry: TaskFiles,
    address: Address,
    name: str,
    files: Sequence[str],
    limit: int | None,
) -> Task:
    try:
        return read_task(files, entry.layout, name, limit)
    except UserError as error:
        if error.line is not None:  # of a line in a file of the benchmark
            raise
        part = "layout" if entry.layout is not None else "paths"
        raise error.relocated(lambda field: loaded.place((*address, part))) from None
