"""Figures and the page over them: the same bytes each time, and nothing that acts."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.errors import UserError
from artifacts.fingerprints import load_json
from artifacts.paths import Store
from pipelines.studies.drawing import alternative, drawn
from pipelines.studies.lines import read_lines, to_parquet
from pipelines.studies.pages import PAGE, found_in, write_figures
from tests.pipelines.studies.experiment_folder import experiment, figure, line
from trainer.experiments.findings import Figure
from trainer.experiments.outcomes import Diverged


def test_lines_come_back_from_their_table_bit_for_bit_and_in_order(tmp_path: Path) -> None:
    lost = line("c", losses={}, diverged=Diverged(step=3, reason="loss nan"), training_loss=None)
    lines = [lost, line("b", parent="a"), line("a")]
    path = tmp_path / "table.parquet"
    path.write_bytes(to_parquet(lines))
    found = read_lines(path)
    assert list(found) == ["a", "b", "c"]
    assert found == {one.outcome.key: one for one in lines}
    assert to_parquet(reversed(lines)) == path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not a table at all"])
def test_a_file_that_is_no_table_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a table of runs"):
        read_lines(path)
    with pytest.raises(UserError, match="no table of runs lies there"):
        read_lines(tmp_path / "other.parquet")


def test_a_figure_is_drawn_as_svg_png_and_data_the_same_each_time() -> None:
    first, second = drawn(figure()), drawn(figure())
    assert set(first) == {"losses.svg", "losses.png", "losses.json"}
    assert first == second
    assert first["losses.png"].startswith(b"\x89PNG")
    assert b"peak" not in first["losses.svg"]
    assert b">rate<" in first["losses.svg"]
    assert Figure.model_validate(load_json(first["losses.json"])) == figure()
    assert "loss over rate: on, band, best, dots" in alternative(figure())


def test_a_page_holds_all_experiments_and_nothing_that_acts(tmp_path: Path) -> None:
    store = experiment(tmp_path)
    experiment(tmp_path, "second")
    files = write_figures(store, found_in(store))
    assert files[0] == PAGE
    assert len(files) == 7
    page = store.read(PAGE).decode()
    assert "<script" not in page
    assert "‮" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<figure>") == 2
    assert "2 runs, 20 tokens" in page
    assert write_figures(store, found_in(store)) == files
    assert store.read(PAGE).decode() == page


def test_a_folder_without_experiments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no experiment has been made here"):
        found_in(Store(tmp_path))
