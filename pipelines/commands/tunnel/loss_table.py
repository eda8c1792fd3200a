"""A CSV of losses: a column for each setting, a row for each seed.

    seed,lr 0.01,lr 0.02
    1,3.412,3.398
    2,3.431,3.405
    3,3.420,

A column named ``seed`` is not read as losses; an empty cell is a run that has no loss.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

from artifacts.errors import UserError

SEED = "seed"
LONGEST_CELL = 1 << 17
"""Characters; csv has this limit too, but any library may lift that."""


def read_losses(path: Path) -> dict[str, list[float | None]]:
    """Losses by column, None where a cell is empty.

    Raises: UserError for a file that is not CSV, or has no rows or columns of losses, for two
    columns of one name, for a row longer or shorter than the header, and for a cell that is no
    finite number.
    """
    rows = _rows(path)
    header = [name.strip() for name in rows[0][1]] if rows else []
    columns = [name for name in header if name.lower() != SEED]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if len(rows) < 2 or not columns or twice:
        raise UserError(
            "the table needs a header and a row of losses for each seed",
            file=path,
            found=f"two columns named {twice[0]!r}"
            if twice
            else f"{len(columns)} columns of losses, {max(len(rows) - 1, 0)} rows",
            fix="write a column for each setting, with its name, and a row for each seed",
        )
    table: dict[str, list[float | None]] = {name: [] for name in columns}
    for number, row in rows[1:]:
        if len(row) != len(header):
            raise UserError(
                "a row has as many cells as the header",
                file=path,
                line=number,
                found=f"{len(row)} cells",
                allowed=[str(len(header))],
                fix="leave the cell of a run without a loss empty",
            )
        for name, cell in zip(header, row, strict=True):
            if name in table:
                table[name].append(_loss(cell.strip(), name, path, number))
    return table


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Rows that hold something, each with the number of the line it ends on."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
        for line, row in rows:
            if any(len(cell) > LONGEST_CELL for cell in row):
                raise csv.Error(f"line {line} has a cell of more than {LONGEST_CELL:,} characters")
        return rows
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            "the file is not CSV in UTF-8",
            file=path,
            found=str(error),
            fix="write figures separated by commas, the first line their names",
        ) from None


def _loss(cell: str, column: str, path: Path, line: int) -> float | None:
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(
            "a loss is a finite number",
            file=path,
            line=line,
            field=(column,),
            found=cell,
            fix="leave the cell of a run that diverged empty",
        )
    return value
