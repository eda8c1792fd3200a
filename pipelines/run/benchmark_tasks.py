"""Benchmarks as a user names them, to tasks: files, globs, or a layout and a glob.

asked_tasks(["bbh.jsonl", "mmlu=mmlu/test/*.csv"], limit=200)
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from artifacts.errors import Parameter, Setting, UserError
from trainer.evaluation.tasks.items import Task
from trainer.evaluation.tasks.layouts import LAYOUTS, read_task


def asked_tasks(tasks: Sequence[str], limit: int | None = None) -> list[Task]:
    """The task of each file or glob, in the order given.

    Raises: UserError for a pattern without a file, an unknown layout, two tasks of one name, and
    for what a file is not.
    """
    if limit is not None and not tasks:
        raise UserError(
            "there are no items to limit",
            parameter="limit",
            found=limit,
            fix=("name a benchmark's file with ", Setting("tasks")),
        )
    read: dict[str, Task] = {}
    for said in tasks:
        layout, pattern = _parted(said)
        task = read_task(_files(pattern), layout, limit=limit)
        if task.name in read:
            raise UserError(
                "two tasks have one name",
                parameter="tasks",
                found=f"{task.name}, of {', '.join(read[task.name].files)} and {pattern}",
                fix="name both files in one glob, or rename one of them",
            )
        read[task.name] = task
    return list(read.values())


def _parted(said: str) -> tuple[str | None, str]:
    """The layout that is named, if any, and the rest. A file whose name holds a sign of equality is
    a file.
    """
    layout, sign, pattern = said.partition("=")
    if not sign or Path(said).exists():
        return None, said
    if layout.replace("-", "_") in LAYOUTS:
        return layout, pattern
    raise UserError(
        "no such layout", parameter="tasks", found=layout, allowed=LAYOUTS, fix="name one of these"
    )


def _files(pattern: str) -> list[str]:
    if Path(pattern).is_file():
        return [pattern]
    found = sorted(path for path in glob.glob(pattern, recursive=True) if Path(path).is_file())
    if not found:
        folder = Path(pattern).is_dir()
        raise UserError(
            "a folder, not a file" if folder else "no such file",
            file=pattern,
            field=(Parameter("tasks"),),
            found=pattern,
            fix="name its files with a glob" if folder else "check the path",
        )
    return found
