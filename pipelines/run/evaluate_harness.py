"""Benchmarks as lm-evaluation-harness asks them, from files that a user names.

    asked = asked_of(["gsm8k=gsm8k/test.jsonl", "gsm8k/shots=gsm8k/train.jsonl"])
    scores = harness_scores(model, tokenizer, asked, window=256)

A part ``NAME=FILES`` names a benchmark and its files, paths or globs; ``NAME/shots=FILES`` those
with solved questions to show before each. Both are read as their publisher lays them out
(:mod:`trainer.evaluation.tasks.layouts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from artifacts.errors import UserError
from artifacts.extras import require
from pipelines.run.benchmark_tasks import files_of
from trainer.evaluation.harness.known import forms_of
from trainer.evaluation.harness.run import check_asked
from trainer.evaluation.tasks.layouts import read_task

if TYPE_CHECKING:
    from trainer.evaluation.harness.task_files import Asked

SHOTS = "/shots"


def asked_of(harness: Sequence[str], limit: int | None = None) -> list[Asked]:
    """What is asked, a benchmark each, with ``limit`` so many of its questions, evenly spread.

    Raises: UserError without the extra ``evaluate``, for an unknown benchmark, for files that are
    not there or not of its layout, and for questions that it cannot ask.
    """
    files = _files(harness)
    if files:
        require("evaluate", "harness")
    asked = []
    for name in dict.fromkeys(name.removesuffix(SHOTS) for name in files):
        if name not in files:
            raise UserError(
                "solved questions, and no questions to ask",
                parameter="harness",
                found=f"{name}{SHOTS} alone",
                fix=f"name the files of {name} too",
            )
        asked.append(_read(name, files[name], files.get(f"{name}{SHOTS}", []), limit))
    check_asked(asked)
    return asked


def _read(name: str, own: Sequence[str], shots: Sequence[str], limit: int | None) -> Asked:
    from trainer.evaluation.harness.task_files import Asked

    layout = forms_of(name)[0].layout
    task = read_task(own, layout, limit=limit)
    solved = read_task(shots, layout).records if shots else ()
    files = ", ".join(own), ", ".join(shots)
    return Asked(name, task.records, solved, *files, task.note, task.items)


def _files(harness: Sequence[str]) -> dict[str, list[str]]:
    """Files by what they are named for."""
    files: dict[str, list[str]] = {}
    for part in harness:
        name, sign, pattern = part.partition("=")
        if not sign or not name or not pattern:
            raise UserError(
                "a benchmark is named with its files",
                parameter="harness",
                found=part,
                allowed=["NAME=FILES", f"NAME{SHOTS}=FILES"],
                fix="give both sides of the sign =",
            )
        forms_of(name.removesuffix(SHOTS))
        files.setdefault(name, []).extend(files_of(pattern, "harness"))
    return files
