"""Benchmarks as lm-evaluation-harness asks them, from files that a user names.

    asked = asked_of(["gsm8k=gsm8k/test.jsonl", "gsm8k/shots=gsm8k/train.jsonl"])
    scores = harness_scores(model, tokenizer, asked, window=256)

A part ``NAME=FILES`` names a benchmark and its files, paths or globs; ``NAME/shots=FILES`` those
with solved questions to show before each. Both read as their publisher lays them out
(:mod:`trainer.evaluation.tasks.layouts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

from artifacts.errors import UserError
from artifacts.extras import require
from trainer.evaluation.harness.known import forms_of
from trainer.evaluation.tasks.layouts import read_task

if TYPE_CHECKING:
    from trainer.evaluation.harness.task_files import Asked

SHOTS = "/shots"


def asked_of(named: Sequence[str]) -> list[Asked]:
    """What is asked, a benchmark each. Raises: UserError without the extra ``evaluate``, for an
    unknown benchmark, and for files that are not there or not of its layout.
    """
    if not named:
        return []
    require("evaluate", "harness")
    from trainer.evaluation.harness.task_files import Asked

    files: dict[str, list[str]] = {}
    for part in named:
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
        files.setdefault(name, []).extend(_paths(part, pattern))
    asked = []
    for name in dict.fromkeys(name.removesuffix(SHOTS) for name in files):
        if name not in files:
            raise UserError(
                "solved questions, and no questions to ask",
                parameter="harness",
                found=f"{name}{SHOTS} alone",
                fix=f"name the files of {name} too",
            )
        own, shots = files[name], files.get(f"{name}{SHOTS}", [])
        layout = forms_of(name)[0].layout
        task = read_task(own, layout=layout)
        solved = read_task(shots, layout=layout).records if shots else ()
        named_so = ", ".join(own), ", ".join(shots)
        asked.append(Asked(name, task.records, solved, *named_so, note=task.note))
    return asked


def _paths(part: str, pattern: str) -> list[str]:
    found = [pattern] if Path(pattern).exists() else sorted(glob(pattern, recursive=True))
    if not found:
        raise UserError("no such file", parameter="harness", found=part, fix="check the path")
    return found
