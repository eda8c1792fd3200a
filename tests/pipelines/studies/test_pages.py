"""Figures and the page over them: the same bytes each time, and nothing that acts."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json, load_json
from artifacts.paths import Store
from pipelines.studies.drawing import alternative, drawn
from pipelines.studies.lines import Line, read_lines, to_parquet
from pipelines.studies.pages import PAGE, found_in, write_figures
from trainer.experiments.findings import Claim, Figure, Findings, Panel, Series, Table
from trainer.experiments.outcomes import Course, Diverged, Losses, Outcome

HOSTILE = "<script>alert(1)</script> ‮ & \"'"


def figure(name: str = "losses") -> Figure:
    series = (
        Series(name="on", x=(1.0, 2.0, 4.0), y=(3.0, None, 2.0), low=(2.9, None, 1.9), high=(3.1, None, 2.1)),
        Series(name="band", x=(1.0, 2.0), low=(1.0, 1.1), high=(1.2, 1.3), style="band"),
        Series(name="best", x=(2.0,), style="rule"),
        Series(name="dots", x=(1.0,), y=(2.5,), style="points", faint=True),
    )
    bars = (
        Series(name="a", x=(0.0, 1.0), y=(1.0, 2.0), low=(0.9, 1.8), high=(1.1, 2.2), style="bars"),
        Series(name="b", x=(0.0, 1.0), y=(1.5, None), style="bars"),
    )
    return Figure(
        name=name,
        title="Losses",
        caption="dots are runs",
        panels=(
            Panel(title="left", x="rate", y="loss", log_x=True, series=series),
            Panel(title="right", x="", y="loss", series=bars, ticks=("one", "two")),
            *(Panel(x="x", y="y", series=series[:1]) for _ in range(3)),
        ),
    )


def line(key: str, **changes: object) -> Line:
    facts = {
        "key": key,
        "steps": 2,
        "tokens": 10,
        "own_tokens": 10,
        "operations": 1e6,
        "parameters": 5,
        "total_parameters": 7,
        "training_loss": 0.1 + 0.2,
        "losses": {"web": Losses(nats=1 / 3, bits_per_byte=None)},
        "course": Course(tokens=(5, 10), losses={"web": (None, 1 / 3)}),
        "probes": {"p": [{"step": 1, "value": 1e-300}]},
    }
    provenance = {"torch": "2", "threads": 1, "arithmetic": 1, "processor": HOSTILE}
    return Line(
        outcome=Outcome.model_validate({**facts, **changes}),
        settings={"seed": 3, "model": {}},
        provenance=provenance,
    )


def experiment(folder: Path, name: str = "first") -> Store:
    store = Store(folder)
    findings = Findings(
        claims=(Claim(claim=HOSTILE, verdict="shown", figures={"interval": [0.1, None]}),),
        tables=(Table(title=HOSTILE, columns=("a", "b"), rows=((HOSTILE, 0.5), (None, 3))),),
        figures=(figure(),),
        notes=(HOSTILE,),
    )
    asked = {
        "name": name,
        "study": "lr",
        "hypothesis": HOSTILE,
        "stopping": "at once",
        "margin": 0.02,
        "primary": {"sources": [], "unit": "nats"},
        "points": [{"arm": HOSTILE, "key": "a"}],
    }
    store.write(f"{name}/experiment.json", canonical_json(asked))
    store.write(f"{name}/findings.json", canonical_json(findings.model_dump(mode="json")))
    store.write(f"{name}/experiments.parquet", to_parquet([line("b"), line("a")]))
    return store


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
