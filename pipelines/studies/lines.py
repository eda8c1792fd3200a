"""A line: what one run of an experiment left, and the tables lines stand in.

    studies/runs/KEY/line.json           of each run, written when it ends
    studies/EXPERIMENT/experiments.parquet   the lines of an experiment, in the order of their keys

A table has the columns of :data:`SCHEMA`; what is nested stands as JSON text in ``settings``,
``provenance`` and ``probes``. Wall time is in a file of its own, since it differs from time to
time: the same runs give the same table to the byte.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json, load_json
from artifacts.records import Record
from trainer.experiments.outcomes import Course, Diverged, Losses, Outcome

FORMAT = "experiments/1"

WITNESSES = ("source_digest", "processor")
"""What a line records of its computation without standing for its figures."""

_LOSS = pa.struct(
    [("source", pa.string()), ("nats", pa.float64()), ("bits_per_byte", pa.float64())]
)
_COURSE = pa.struct([("source", pa.string()), ("nats", pa.list_(pa.float64()))])
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("parent", pa.string()),
        ("steps", pa.int64()),
        ("tokens", pa.int64()),
        ("own_tokens", pa.int64()),
        ("operations", pa.float64()),
        ("parameters", pa.int64()),
        ("total_parameters", pa.int64()),
        ("training_loss", pa.float64()),
        ("losses", pa.list_(_LOSS)),
        ("course_tokens", pa.list_(pa.int64())),
        ("course_losses", pa.list_(_COURSE)),
        ("diverged_step", pa.int64()),
        ("diverged_reason", pa.string()),
        ("settings", pa.string()),
        ("provenance", pa.string()),
        ("probes", pa.string()),
    ],
    metadata={"windtunnel.format": FORMAT},
)


class Line(Record):
    """An outcome with the settings it came from, resolved, and what computed it."""

    outcome: Outcome
    settings: dict[str, Any]
    provenance: dict[str, Any]

    def to_json(self) -> bytes:
        """Canonical JSON, one line."""
        return canonical_json(self.model_dump(mode="json")) + b"\n"

    def same_figures(self, other: Line) -> bool:
        """Whether two lines differ in nothing but :data:`WITNESSES`."""
        mine, theirs = (
            {name: value for name, value in line.provenance.items() if name not in WITNESSES}
            for line in (self, other)
        )
        return (self.outcome, self.settings, mine) == (other.outcome, other.settings, theirs)


def parse(raw: bytes, file: str) -> Line:
    """A line. Raises: UserError when the file is not one."""
    try:
        return Line.model_validate(load_json(raw))
    except (ValueError, ValidationError) as error:
        raise UserError(
            "not the line of a run",
            file=file,
            found=str(error).splitlines()[0],
            fix="remove the file, and the run is made again",
        ) from None


def table(lines: Iterable[Line]) -> pa.Table:
    """Lines in the order of their keys."""
    rows = [_row(line) for line in sorted(lines, key=lambda line: line.outcome.key)]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def to_parquet(lines: Iterable[Line]) -> bytes:
    """The table as a file; the same lines give the same bytes."""
    buffer = io.BytesIO()
    pq.write_table(table(lines), buffer, compression="zstd")
    return buffer.getvalue()


def read_lines(path: str | Path) -> dict[str, Line]:
    """The lines of a table by key. Raises: UserError when the file is not such a table."""
    try:
        rows = pq.read_table(path, schema=SCHEMA).to_pylist()
    except FileNotFoundError:
        raise UserError(
            "no table of runs lies there", file=path, fix="correct the path, or leave it out"
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            "not a table of runs",
            file=path,
            found=str(error).splitlines()[0],
            fix="name an experiments.parquet that an experiment wrote",
        ) from None
    return {row["key"]: _line(row, str(path)) for row in rows}


def _row(line: Line) -> dict[str, Any]:
    outcome = line.outcome
    diverged = outcome.diverged
    return {
        **outcome.model_dump(exclude={"losses", "course", "probes", "diverged"}),
        "losses": [
            {"source": name, **loss.model_dump()} for name, loss in sorted(outcome.losses.items())
        ],
        "course_tokens": list(outcome.course.tokens),
        "course_losses": [
            {"source": name, "nats": list(values)}
            for name, values in sorted(outcome.course.losses.items())
        ],
        "diverged_step": None if diverged is None else diverged.step,
        "diverged_reason": None if diverged is None else diverged.reason,
        "settings": canonical_json(line.settings).decode(),
        "provenance": canonical_json(line.provenance).decode(),
        "probes": canonical_json(outcome.probes).decode(),
    }


def _line(row: Mapping[str, Any], file: str) -> Line:
    plain = {name: row[name] for name in Outcome.model_fields if name in row}
    step = row["diverged_step"]
    try:
        outcome = Outcome(
            **plain
            | {
                "losses": {
                    one["source"]: Losses(nats=one["nats"], bits_per_byte=one["bits_per_byte"])
                    for one in row["losses"]
                },
                "course": Course(
                    tokens=tuple(row["course_tokens"]),
                    losses={one["source"]: tuple(one["nats"]) for one in row["course_losses"]},
                ),
                "probes": load_json(row["probes"]),
                "diverged": None
                if step is None
                else Diverged(step=step, reason=row["diverged_reason"]),
            }
        )
        return Line(
            outcome=outcome,
            settings=load_json(row["settings"]),
            provenance=load_json(row["provenance"]),
        )
    except (ValueError, TypeError) as error:
        raise UserError(
            "not a table of runs",
            file=file,
            found=str(error).splitlines()[0],
            fix="name an experiments.parquet that an experiment wrote",
        ) from None
