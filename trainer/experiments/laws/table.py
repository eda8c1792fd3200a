"""Points from a table: CSV or Parquet, a run a row.

    parameters,tokens,loss,seed
    3.1e7,3.7e8,3.912,1

``parameters``, ``tokens`` or ``operations`` (then D = C / 6N), ``loss`` are needed; ``loss.NAME``
are losses on held-out sources, whose mean is the loss where there is no column of it. ``seed`` is
that of the trunk, ``size`` a name of the size, ``weight`` what a run counts, ``batch``, ``rate``
and ``decay`` what runs differed in, ``parameters.RULE`` a count by another rule. Where there are
both tokens and operations, these are a rule too: exact operations / 6D. Other columns are not read.
Lines that begin with # are remarks.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artifacts.errors import UserError
from trainer.experiments.laws.law import PER_TOKEN, Array
from trainer.experiments.laws.points import Points

NEEDED = ("parameters", "tokens", "loss")
SETTINGS = ("batch", "rate", "decay")
EXACT = "exact operations"
_LOSS, _COUNT = "loss.", "parameters."
_OTHERS = ("operations", "seed", "size", "weight", *SETTINGS)
_LARGEST = 256 << 20
LONGEST_LINE = 1 << 17
"""Characters of a row."""


@dataclass(frozen=True)
class Table:
    """Columns as they stand in a file, and the line of each row."""

    path: Path
    columns: Mapping[str, Sequence[Any]]
    lines: Sequence[int]

    def unread(self) -> list[str]:
        """Columns that no fit looks at."""
        known = {*NEEDED, *_OTHERS}
        return [
            name
            for name in self.columns
            if name not in known and not name.startswith((_LOSS, _COUNT))
        ]

    def points(self) -> Points:
        """The points. Raises: UserError, with file, line and column."""
        parameters = self._needed("parameters")
        sources = self._prefixed(_LOSS)
        counts = self._prefixed(_COUNT)
        if "tokens" in self.columns:
            tokens = self._numbers("tokens")
            if "operations" in self.columns:
                counts[EXACT] = self._numbers("operations") / (PER_TOKEN * tokens)
        elif "operations" in self.columns:
            tokens = self._numbers("operations") / (PER_TOKEN * parameters)
        else:
            raise self._without("tokens", "operations")
        if "loss" in self.columns:
            losses = self._numbers("loss")
        elif sources:
            losses = np.mean([*sources.values()], axis=0)
        else:
            raise self._without("loss")
        self._check_twice()
        return Points(
            parameters,
            tokens,
            losses,
            trunk=self._names("seed"),
            weights=self._numbers("weight", least=0.0) if "weight" in self.columns else None,
            sizes=self._names("size"),
            sources=sources,
            counts=counts,
            settings={name: self._names(name) or [] for name in SETTINGS if name in self.columns},
        )

    def _check_twice(self) -> None:
        """Raises: UserError for rows that are one run: alike in every column, its seed included."""
        if "seed" not in self.columns:
            return
        seen: dict[tuple[str, ...], int] = {}
        for place, row in enumerate(zip(*self.columns.values(), strict=True)):
            first = seen.setdefault(tuple(map(str, row)), place)
            if first != place:
                raise UserError(
                    "a run stands twice, and would count as two",
                    file=self.path,
                    line=self.lines[place],
                    found=f"the row of line {self.lines[first]} once more",
                    fix="remove one of the two, or correct its seed",
                )

    def _needed(self, name: str) -> Array:
        if name not in self.columns:
            raise self._without(name)
        return self._numbers(name)

    def _without(self, *names: str) -> UserError:
        return UserError(
            f"the table has no column {' or '.join(names)}",
            file=self.path,
            line=1,
            found=", ".join(self.columns) or "no columns",
            allowed=["parameters", "tokens or operations", "loss", "loss.NAME", *_OTHERS[1:]],
            fix="separate columns by commas"
            if len(self.columns) == 1 and any(mark in next(iter(self.columns)) for mark in ";\t")
            else "name the columns in the first line",
        )

    def _prefixed(self, prefix: str) -> dict[str, Array]:
        return {
            name.removeprefix(prefix): self._numbers(name)
            for name in self.columns
            if name.startswith(prefix)
        }

    def _names(self, name: str) -> list[object] | None:
        column = self.columns.get(name)
        return None if column is None else [str(value).strip() for value in column]

    def _numbers(self, name: str, least: float = np.nextafter(0, 1)) -> Array:
        values = np.empty(len(self.lines))
        for row, (value, line) in enumerate(zip(self.columns[name], self.lines, strict=True)):
            try:
                values[row] = float(value)
            except (TypeError, ValueError):
                values[row] = np.nan
            if not (np.isfinite(values[row]) and values[row] >= least):
                raise UserError(
                    "not a finite number " + ("above 0" if least else "of at least 0"),
                    file=self.path,
                    line=line,
                    field=(name,),
                    found="nothing" if value in (None, "") else value,
                    fix="give the figure, or leave the run's line out and say so beside the fit",
                )
        return values


def read_table(path: Path | str) -> Table:
    """A table of runs. Raises: UserError for a file that is none, or has no rows."""
    path = Path(path)
    readers: dict[str, Callable[[Path], Table]] = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise UserError(
            "a table of points is CSV or Parquet",
            parameter="table",
            found=path.name,
            allowed=readers,
            fix="name the file .csv or .parquet, as what it holds",
        )
    if not path.is_file():
        raise UserError("there is no such file", parameter="table", found=path)
    if path.stat().st_size > _LARGEST:
        raise UserError(
            "the file is too large for a table of runs", file=path, allowed=["up to 256 MiB"]
        )
    table = readers[path.suffix](path)
    if not table.lines:
        raise UserError(
            "the table has no rows", file=path, fix="give a row for every run that ended"
        )
    return table


def _read_csv(path: Path) -> Table:
    try:
        texts = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError("the file is not UTF-8 text", file=path, found=str(error)) from None
    kept = [(number, text) for number, text in enumerate(texts, 1) if _holds_a_row(text)]
    if not kept:
        return Table(path, {}, ())
    header, *rows = [_cells(path, line, text) for line, text in kept]
    names = [name.strip() for name in header]
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise UserError("two columns have one name", file=path, line=kept[0][0], found=doubled[0])
    for (line, _), row in zip(kept[1:], rows, strict=True):
        if len(row) != len(names):
            raise UserError(
                "a line has not as many values as there are columns",
                file=path,
                line=line,
                found=len(row),
                allowed=[len(names)],
            )
    columns = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    return Table(path, columns, [line for line, _ in kept[1:]])


def _cells(path: Path, line: int, text: str) -> list[str]:
    """Values of one line, which holds a whole row."""
    if len(text) > LONGEST_LINE:  # csv has a limit of its own, which any library may lift
        raise UserError(
            "the line is not CSV",
            file=path,
            line=line,
            found=f"{len(text):,} characters",
            allowed=[f"at most {LONGEST_LINE:,}"],
            fix="write one figure in each cell",
        )
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise UserError(
            "the line is not CSV",
            file=path,
            line=line,
            found=str(error),
            fix="close each quote within its line, or write the figures without quotes",
        ) from None


def _holds_a_row(text: str) -> bool:
    """Whether a line has a value in it: spreadsheets end in lines of commas alone."""
    return bool(text.strip().strip(",").strip()) and not text.startswith("#")


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError("the file is not Parquet", file=path, found=str(error)) from None
    columns = {name: found[name].to_pylist() for name in found.column_names}
    return Table(path, columns, range(1, found.num_rows + 1))
