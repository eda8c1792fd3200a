"""Questions and task files of one run, written where the harness reads them.

    for written in write_tasks(asked, form, folder):
        written.task, written.path

Questions become Parquet, whose types are those of the records, and a task file says the harness to
read them instead of its own dataset. Nothing else of its own file changes but the number of solved
questions, where a user gives some. They never come from the questions that are asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from lm_eval import tasks as harness_tasks
from lm_eval.tasks.manager import load_yaml

from artifacts.errors import UserError
from trainer.evaluation.harness.known import SUBJECT, Form
from trainer.evaluation.tasks.items import Item

HARNESS = Path(harness_tasks.__file__).parent

Record = Mapping[str, Any]
"""A question with the fields of the dataset that the harness reads, and the field that names its
subject where there are several.
"""


@dataclass(frozen=True)
class Asked:
    """A benchmark and what is asked: ``questions``, and ``shots``, solved ones to show before each.

    ``named``, ``shots_named``: what errors call where they come from. ``note``: what a reader of
    the scores must know of the questions. ``items``: the questions, to look for
    elsewhere.
    """

    benchmark: str
    questions: Sequence[Record]
    shots: Sequence[Record] = ()
    named: str = "the questions"
    shots_named: str = "the solved questions"
    note: str | None = None
    items: tuple[Item, ...] = ()


class Written(NamedTuple):
    """A task of the harness in a file of its own."""

    task: str
    path: Path


def write_tasks(asked: Asked, form: Form, folder: Path, limit: int | None = None) -> list[Written]:
    """A task for every subject that is asked; ``limit``: so many first questions of each.

    Raises: UserError where there is no question, a record lacks a field or an answer, the harness
    has no such subject, or solved questions are missing, too few or among those that are asked.
    """
    _check(asked.questions, form, asked.named)
    _check(asked.shots, form, asked.shots_named)
    if not asked.questions:
        raise UserError(
            "nothing is asked", file=asked.named, found="no question", fix="name other files"
        )
    shots = _by_subject(asked.shots, form, asked.shots_named)
    written = []
    for subject, questions in _by_subject(asked.questions, form, asked.named).items():
        chosen = _Files(form, subject, questions[:limit], shots.get(subject, []))
        written.append(chosen.write(asked, folder))
    return written


@dataclass(frozen=True)
class _Files:
    """What is written of one subject, the only one where ``subject`` is empty."""

    form: Form
    subject: str
    questions: Sequence[Record]
    shots: Sequence[Record]

    def write(self, asked: Asked, folder: Path) -> Written:
        own = HARNESS / self._named(self.form.include)
        wanted = _shots_wanted(load_yaml(own, resolve_func=False), self, asked)
        task = self._named(str(self.form.settings["task"]))
        files = {"test": _write(self.questions, folder / f"{task}.test.parquet", asked.named)}
        if wanted and self.shots:
            path = folder / f"{task}.shots.parquet"
            files["shots"] = _write(self.shots, path, asked.shots_named)
        settings = {
            **self.form.settings,
            "include": str(own),
            "task": task,
            "dataset_path": "parquet",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": files, "cache_dir": str(folder / "cache")},
            "training_split": None,
            "validation_split": None,
            "test_split": "test",
            "fewshot_split": "shots" if "shots" in files else None,
            "num_fewshot": wanted,
        }
        path = folder / f"{task}.yaml"
        path.write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
        return Written(task, path)

    def _named(self, pattern: str) -> str:
        return pattern.replace(SUBJECT, self.subject)


def _check(records: Sequence[Record], form: Form, named: str) -> None:
    """Every record has its fields, and an answer."""
    for number, record in enumerate(records, 1):
        missing = next((field for field in form.fields if record.get(field) is None), None)
        if missing is None and record[form.fields[-1]] == "":
            missing = form.fields[-1]
        if missing is not None:
            answer = missing == form.fields[-1]
            raise UserError(
                "a question without an answer" if answer else "a question lacks a field",
                file=named,
                field=missing,
                found=f"record {number} of {len(records)}",
                fix="name the files with answers, as their publisher has them"
                if answer
                else f"name files that their publisher made for {form.benchmark}",
            )
        for field, (least, most) in form.lengths.items():
            options = record[field]
            count = len(options["text"] if isinstance(options, Mapping) else options)
            if not least <= count <= most:
                raise UserError(
                    f"the form {form.name} has no place for so many options",
                    file=named,
                    field=field,
                    found=f"{count} in record {number} of {len(records)}",
                    allowed=[f"{least} to {most}" if least < most else str(most)],
                    fix="take the record out of the file",
                )


def _by_subject(records: Sequence[Record], form: Form, named: str) -> dict[str, list[Record]]:
    """Records by subject, in their order; all under an empty name where there are no subjects."""
    if not form.by_subject:
        return {"": list(records)} if records else {}
    subjects = subjects_of(form)
    found: dict[str, list[Record]] = {}
    for record in records:
        subject = record.get(form.subject)
        if subject not in subjects:
            raise UserError(
                f"the harness has no such subject of {form.benchmark}",
                file=named,
                field=form.subject,
                found=subject,
                allowed=sorted(subjects),
            )
        found.setdefault(str(subject), []).append(record)
    return found


def subjects_of(form: Form) -> frozenset[str]:
    """Subjects that the harness has a file for."""
    before, after = form.include.split(SUBJECT)
    folder, _, prefix = before.rpartition("/")
    names = (path.name for path in (HARNESS / folder).iterdir())
    ends = (name for name in names if name.startswith(prefix) and name.endswith(after))
    cut = (name.removeprefix(prefix).removesuffix(after) for name in ends)
    return frozenset(name for name in cut if not name.startswith("_"))


def _shots_wanted(own: Mapping[str, Any], files: _Files, asked: Asked) -> int:
    """How many solved questions are shown before each."""
    number = own.get("num_fewshot") or 0
    brought = "samples" in (own.get("fewshot_config") or {})
    of = f"{asked.benchmark} {files.subject}".rstrip()
    if asked.shots and (brought or not (number or files.form.shots)):
        raise UserError(
            f"{asked.benchmark} takes no solved questions of yours",
            file=asked.shots_named,
            found=f"{number} that the harness brings" if brought else "a form without any",
            fix="leave them out",
        )
    if brought:
        return int(number)
    wanted = int(number or (files.form.shots if asked.shots else 0))
    if wanted > len(files.shots):
        raise UserError(
            f"{of} shows {wanted} solved questions before each one",
            file=asked.shots_named if asked.shots else asked.named,
            found=f"{len(files.shots)} of them",
            allowed=[f"at least {wanted}"],
            fix=f"name its dev or train files with {asked.benchmark}/shots=FILES",
        )
    known = [dict(record) for record in files.questions]
    if any(dict(record) in known for record in files.shots):
        raise UserError(
            f"solved questions of {of} are among those that are asked",
            file=asked.shots_named,
            found="the same record in both",
            fix="name the dev or train files, not those of the test",
        )
    return wanted


def _write(records: Sequence[Record], path: Path, named: str) -> str:
    try:
        pq.write_table(pa.Table.from_pylist([dict(record) for record in records]), path)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
        raise UserError(
            "questions whose fields are not alike, or not text",
            file=named,
            found=str(error),
            fix="mend the records, or name other files",
        ) from None
    return str(path)
