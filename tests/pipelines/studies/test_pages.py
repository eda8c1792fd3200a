"""Figures and the page over them: the same bytes each time, and nothing that acts."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from artifacts.errors import UserError
from artifacts.fingerprints import load_json
from artifacts.paths import Store
from pipelines.studies.drawing import alternative, drawn
from pipelines.studies.lines import read_lines, to_parquet
from pipelines.studies.pages import PAGE, found_in, write_figures
from pipelines.studies.written import ASKED, FINDINGS
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


def test_names_that_act_are_drawn_as_their_characters() -> None:
    name = "$\\frac{$ <b>\x1b[31m\x00"
    panel = figure().panels[0]
    series = tuple(one.model_copy(update={"name": name}) for one in panel.series)
    hostile = figure().model_copy(
        update={"title": name, "panels": (panel.model_copy(update={"series": series}),)}
    )
    files = drawn(hostile)
    text = "".join(ElementTree.fromstring(files["losses.svg"]).itertext())
    assert "$\\frac{$ <b>\\u001b[31m" in text
    assert Figure.model_validate(load_json(files["losses.json"])) == hostile


@pytest.mark.parametrize("name", [ASKED, FINDINGS])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"claims": 5, "study": "x"}'])
def test_a_file_that_no_experiment_left_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    store = experiment(tmp_path)
    folder = found_in(store)[0].name
    store.write(f"{folder}/{name}", content)
    with pytest.raises(UserError, match="not a file that an experiment leaves") as refused:
        found_in(store)
    assert str(refused.value.file).endswith(name)
