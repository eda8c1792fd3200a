"""The layouts of benchmarks' files, and tasks read from files.

    task = read_task(["ARC-Challenge-Test.jsonl"])           the layout is told by the fields
    task = read_task(glob("mmlu/test/*.csv"), layout="mmlu", limit=200)

    layout      as its publisher has it                              norm of options
    hellaswag   lines: ctx_a, ctx_b, activity_label, endings, label  per character
    arc         lines: question {stem, choices}, answerKey           per character; challenge pmi
    mmlu        SUBJECT_test.csv without names: question, A to D,    per character
                answer
    mmlu_redux  question, choices, answer, error_type                per character
    ceval       SUBJECT_val.csv: id, question, A to D, answer        per character
    cmmlu       SUBJECT.csv: Question, A to D, Answer                per character
    gsm8k       lines: question, answer with #### n                  none: answers are written
    bbh         TASK.json: examples of input and target              per character; some are written

Each takes the fields of the Hugging Face data set too, and records of this project's own form for
benchmarks. A layout more is an entry of :data:`LAYOUTS`. Norms are those of OLMES
(arXiv 2406.08446) where it has the benchmark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from artifacts.errors import UserError
from trainer.evaluation.tasks import forms, records
from trainer.evaluation.tasks.files import rows_of
from trainer.evaluation.tasks.items import Item, Task
from trainer.evaluation.tasks.rows import Row, stem_of

_PARTS = ("test", "val", "valid", "validation", "dev", "train", "all", "data")


@dataclass(frozen=True)
class Layout:
    """``fields``: sets of fields, of which a record of this layout has one. ``record``: a row with
    the fields of the Hugging Face data set, None for one that its publisher withdrew. ``form``: the
    record as an item of that key. ``identity``: the field that names a record in all its files.
    """

    name: str
    fields: tuple[frozenset[str], ...]
    record: Callable[[Row], Mapping[str, Any] | None]
    form: Callable[[Mapping[str, Any], str], Item]
    norm: Callable[[Sequence[str]], str] = lambda files: "per_character"
    identity: str | None = None

    def match(self, row: Row) -> int:
        """How many fields tell that a row is of this layout, 0 where it is not."""
        return max((len(one) for one in self.fields if one <= set(row.values)), default=0)


def _arc_norm(files: Sequence[str]) -> str:
    challenge = all("challenge" in PurePath(file).name.lower() for file in files)
    return "pmi" if challenge else "per_character"


def _fields(*sets: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(one.split()) for one in sets)


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "hellaswag", _fields("ctx_a activity_label endings"), records.hellaswag, forms.hellaswag
        ),
        Layout(
            "arc", _fields("question answerKey"), records.arc, forms.arc, _arc_norm, identity="id"
        ),
        Layout(
            "mmlu",
            _fields("question choices answer", "question A B C D answer"),
            records.mmlu,
            forms.mmlu,
        ),
        Layout(
            "mmlu_redux",
            _fields("question choices error_type", "question choices answer error_type"),
            records.mmlu_redux,
            forms.mmlu,
        ),
        Layout(
            "ceval",
            _fields("id question A B C D", "id question A B C D answer"),
            records.ceval,
            forms.ceval,
        ),
        Layout("cmmlu", _fields("Question A B C D"), records.cmmlu, forms.cmmlu),
        Layout("gsm8k", _fields("question answer"), records.gsm8k, forms.gsm8k),
        Layout("bbh", _fields("input target"), records.bbh, forms.bbh),
    )
}


def layout_named(name: str) -> Layout:
    """Raises: UserError for another name."""
    found = LAYOUTS.get(name.replace("-", "_"))
    if found is None:
        raise UserError(
            "no such layout",
            parameter="layout",
            found=name,
            allowed=LAYOUTS,
            fix="name one of these, or leave it out: the fields of the files tell",
        )
    return found


def layout_of(row: Row) -> Layout:
    """The layout whose fields a row has. Raises: UserError where there is none."""
    best = max(LAYOUTS.values(), key=lambda layout: layout.match(row))
    if not best.match(row):
        raise UserError(
            "these are the fields of no benchmark that is known",
            file=row.file,
            line=row.line,
            found=", ".join(map(str, row.values)),
            allowed=[f"{one.name} ({' '.join(sorted(one.fields[0]))})" for one in LAYOUTS.values()],
            fix="name the layout, or bring the records into one of these",
        )
    return best


def read_task(
    files: Sequence[str | Path],
    layout: str | None = None,
    name: str | None = None,
    limit: int | None = None,
) -> Task:
    """The task in ``files``, all of one layout. ``name``: default the file's own, of several the
    layout's. ``limit``: so many items, evenly spread over all that there are.

    Raises: UserError for a file that is not there, a record that is broken or has no answer among
    its options, no items, and an unknown layout.
    """
    paths = list(dict.fromkeys(str(file) for file in files))
    if limit is not None and limit < 1:
        raise UserError("at least one item is asked", parameter="limit", found=limit, fix="give 1")
    chosen = None if layout is None else layout_named(layout)
    labels = _labels(paths)
    found: dict[str, tuple[Item, Mapping[str, Any]]] = {}
    withdrawn = 0
    for path in paths:
        for packed in rows_of(path):
            row = records.unwrapped(packed)
            chosen = chosen or layout_of(row)
            record = chosen.record(row)
            if record is None:
                withdrawn += 1
                continue
            key = _key(row, packed, chosen, labels[path])
            if key in found:
                raise row.error(
                    "two records have this name",
                    chosen.identity or "id",
                    found=key,
                    fix="take one of them out; a file is named once",
                )
            found[key] = (chosen.form(record, key), record)
    if chosen is None or not found:
        raise UserError(
            "no items in these files",
            file=paths[0] if len(paths) == 1 else None,
            found=", ".join(paths) or "no file",
            fix=f"every question in them was found faulty ({withdrawn:,}); name others"
            if withdrawn
            else "name files with records of a benchmark",
        )
    said = name or _name(paths, chosen)
    return _task(said, chosen, paths, list(found.values()), limit, withdrawn)


def _task(
    name: str,
    layout: Layout,
    paths: Sequence[str],
    found: Sequence[tuple[Item, Mapping[str, Any]]],
    limit: int | None,
    withdrawn: int,
) -> Task:
    count = len(found) if limit is None else min(limit, len(found))
    kept = [found[number * len(found) // count] for number in range(count)]
    notes = []
    if withdrawn:
        notes.append(f"{withdrawn:,} questions that their publisher found faulty are left out")
    if count < len(found):
        notes.append(f"{count:,} of {len(found):,} items, evenly spread")
    return Task(
        name,
        layout.name,
        tuple(paths),
        tuple(item for item, _ in kept),
        layout.norm(paths),
        tuple(record for _, record in kept),
        "; ".join(notes) or None,
    )


def _labels(paths: Sequence[str]) -> dict[str, str]:
    """What names a file among the others: its stem, with its folder where two have the same."""
    often = Counter(stem_of(path) for path in paths)
    return {
        path: stem_of(path)
        if often[stem_of(path)] == 1
        else f"{PurePath(path).parent.name}/{stem_of(path)}"
        for path in paths
    }


def _key(row: Row, packed: Row, layout: Layout, label: str) -> str:
    """What names a record for every model: its own id where that is one among all, else its place
    in its file.
    """
    own = layout.identity if row.values is packed.values else "id"
    value = None if own is None else row.values.get(own)
    return value if isinstance(value, str) and value else f"{label}#{row.number}"


def _name(paths: Sequence[str], layout: Layout) -> str:
    stem = stem_of(paths[0])
    return stem if len(paths) == 1 and stem not in _PARTS else layout.name
