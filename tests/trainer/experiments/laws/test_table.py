"""Points and the tables they come from: what is read, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.errors import UserError
from tests.trainer.experiments.laws.designs import design
from trainer.experiments.laws.points import Points, grouped
from trainer.experiments.laws.table import EXACT, read_table


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "points.csv"
    path.write_text(text)
    return path


def test_every_column_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "# a remark\nparameters,tokens,operations,loss.web,loss.code,seed,size,rate,weight,"
        "parameters.with_embedding,machine\n"
        "1e6,2e7,2.4e14,3.0,1.0,1,s,0.01,2,1.5e6,a\n\n2e6,4e7,4.8e14,2.0,0.8,2,m,0.01,1,2.5e6,b\n",
    )
    table = read_table(path)
    points = table.points()
    assert table.unread() == ["machine"]
    assert points.losses.tolist() == [2.0, 1.4]
    assert points.of_source("code").losses.tolist() == [1.0, 0.8]
    assert points.counted("with_embedding").parameters.tolist() == [1.5e6, 2.5e6]
    assert points.counts[EXACT].tolist() == [2e6, 2e6]
    assert points.trunk == ["1", "2"]
    assert points.size.tolist() == [0, 1]
    assert points.weight.tolist() == [2.0, 1.0]
    assert points.settings["rate"] == ["0.01", "0.01"]


def test_tokens_come_from_operations_where_they_are_not_given(tmp_path: Path) -> None:
    path = written(tmp_path, "parameters,operations,loss\n1e6,1.2e14,3\n")
    assert read_table(path).points().tokens.tolist() == [2e7]


def test_parquet_and_csv_hold_the_same_points(tmp_path: Path) -> None:
    columns = {"parameters": [1e6, 2e6], "tokens": [2e7, 4e7], "loss": [3.0, 2.5], "seed": [1, 2]}
    pq.write_table(pa.table(columns), tmp_path / "points.parquet")
    lines = ["parameters,tokens,loss,seed", "1e6,2e7,3,1", "2e6,4e7,2.5,2"]
    path = written(tmp_path, "\n".join(lines))
    one, other = read_table(path).points(), read_table(tmp_path / "points.parquet").points()
    assert one.losses.tolist() == other.losses.tolist()
    assert one.trunk == other.trunk


@pytest.mark.parametrize(
    ("text", "line", "field", "found"),
    [
        ("parameters,tokens,loss\n1e6,2e7,3\n1e6,2e7,nan\n", 3, "loss", "nan"),
        ("# x\nparameters,tokens,loss\n1e6,,3\n", 3, "tokens", "nothing"),
        ("parameters,tokens,loss\n-5,2e7,3\n", 2, "parameters", "-5"),
        ("parameters,tokens,loss\n1e6,2e7,inf\n", 2, "loss", "inf"),
        ("parameters,tokens,loss,weight\n1e6,2e7,3,-1\n", 2, "weight", "-1"),
        ("parameters,tokens,loss\n1e6,2e7\n", 2, None, "2"),
        ("parameters,tokens\n1e6,2e7\n", 1, None, "parameters, tokens"),
        ("parameters,loss\n1e6,3\n", 1, None, "parameters, loss"),
        ("tokens,loss\n1e6,3\n", 1, None, "tokens, loss"),
        ("loss,loss\n1,2\n", 1, None, "loss"),
    ],
)
def test_what_is_wrong_is_said_with_line_and_column(
    tmp_path: Path, text: str, line: int, field: str | None, found: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as raised:
        read_table(path).points()
    error = raised.value
    assert (error.file, error.line, error.field, str(error.found)) == (
        str(path), line, field, found,
    )  # fmt: skip


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("no")
    (tmp_path / "b.txt").write_text("no")
    (tmp_path / "c.csv").write_bytes(b"\xff\xfe")
    for name, message in (
        ("a.parquet", "not Parquet"),
        ("b.txt", "CSV or Parquet"),
        ("c.csv", "not UTF-8"),
        ("d.csv", "no such file"),
    ):
        with pytest.raises(UserError, match=message):
            read_table(tmp_path / name)
    for text in ("", "parameters,tokens,loss\n"):
        with pytest.raises(UserError, match="no rows"):
            read_table(written(tmp_path, text))


def test_points_that_are_none_are_refused() -> None:
    one = np.array([1.0])
    with pytest.raises(UserError, match="no points"):
        Points(np.array([]), np.array([]), np.array([]))
    with pytest.raises(UserError, match="differ in length"):
        Points(one, one, np.array([1.0, 2.0]))
    with pytest.raises(UserError, match="above 0"):
        Points(one, one, np.array([np.nan]))


def test_sizes_lengths_cells_and_trunks_are_told_apart() -> None:
    points = design(4, 3, 2)
    assert int(points.size.max()) == 3
    assert int(points.length.max()) == 2
    assert int(points.cell.max()) == 11
    assert points.trunks is not None
    assert int(points.trunks.max()) == 7
    assert np.bincount(points.trunks).tolist() == [3] * 8
    crossed = Points(np.repeat([1e6, 2e6, 3e6], 2), np.tile([1e8, 2e8], 3), np.linspace(3, 2, 6))
    assert crossed.length.tolist() == [0, 1] * 3
    assert grouped(np.array([5.0, 5.01, 5.5])).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "row",
    ['1e6,1e7,"3.2\n1e6,1e7,3.1', "1e6,1e7," + "9" * 200_000],
    ids=["a quote left open", "an endless value"],
)
def test_a_line_that_is_not_csv_is_named(tmp_path: Path, row: str) -> None:
    path = written(tmp_path, f"parameters,tokens,loss\n1e6,1e7,3.0\n{row}\n")
    with pytest.raises(UserError, match="not CSV") as refused:
        read_table(path)
    assert refused.value.line == 3


def test_lines_of_commas_alone_are_no_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "parameters,tokens,loss\n1e6,1e7,3.0\n,,\n , ,\n")
    assert len(read_table(path).points()) == 1


@pytest.mark.parametrize("mark", [";", "\t"])
def test_columns_separated_by_other_marks_are_recognised(tmp_path: Path, mark: str) -> None:
    path = written(tmp_path, "parameters,tokens,loss\n1e6,1e7,3.0\n".replace(",", mark))
    with pytest.raises(UserError) as refused:
        read_table(path).points()
    assert refused.value.fix == "separate columns by commas"


def test_points_none_of_which_counts_and_figures_beyond_all_runs_are_refused() -> None:
    one = np.array([1.0, 2.0])
    with pytest.raises(UserError, match="no point counts"):
        Points(one, one, one, weights=np.zeros(2))
    with pytest.raises(UserError, match="above 0"):
        Points(one * 1e300, one, one)


def test_a_run_that_stands_twice_is_refused_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("parameters,tokens,loss,seed\n1e6,1e8,3.1,1\n1e6,1e8,3.1,2\n1e6,1e8,3.1,1\n")
    with pytest.raises(UserError, match="stands twice") as error:
        read_table(path).points()
    assert ":4:" in str(error.value)
    assert "line 2 once more" in str(error.value)
