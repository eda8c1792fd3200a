"""The figures of all experiments of a folder, and one page over them.

    studies/EXPERIMENT/findings.json, of each ─▶ figures/NAME.svg, .png, .json and experiments.html

A page is one file that loads nothing and runs nothing; figures stand in it as images.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.errors import UserError
from artifacts.fingerprints import load_json
from artifacts.paths import Store
from artifacts.visible_text import visible
from pipelines.studies.drawing import alternative, drawn
from pipelines.studies.lines import Line, read_lines
from pipelines.studies.written import ASKED, FINDINGS, TABLE
from trainer.experiments.designs.catalogue import DESIGNS
from trainer.experiments.findings import Cell, Claim, Findings

PAGE = "experiments.html"
FIGURES = "figures"
FIRST = ("estimate", "interval", "unit", "margin", "adjusted p", "degrees")
"""Of the figures behind a verdict, those that come first."""
NEEDED = frozenset({"name", "hypothesis", "stopping", "margin", "study", "primary", "points"})
"""What the page takes from an experiment's settings."""


@dataclass(frozen=True)
class Found:
    """An experiment that lies in a folder: what it asked, its lines by key, what it found."""

    asked: dict[str, Any]
    lines: dict[str, Line]
    findings: Findings

    @property
    def name(self) -> str:
        return str(self.asked["name"])


def found_in(folder: Store) -> list[Found]:
    """The experiments below a folder, by name. Raises: UserError where there is none."""
    names = sorted(
        name.removesuffix(f"/{FINDINGS}")
        for name in folder.names()
        if name.endswith(f"/{FINDINGS}") and name.count("/") == 1
    )
    if not names:
        raise UserError(
            "no experiment has been made here",
            file=folder.root,
            fix="name the studies folder of a run in which experiments were carried out",
        )
    return [_found(folder, name) for name in names]


def _found(folder: Store, name: str) -> Found:
    file = f"{name}/{ASKED}"
    try:
        asked = load_json(folder.read(file))
        missing = NEEDED - {*asked} if isinstance(asked, dict) else NEEDED
        if missing or asked["study"] not in DESIGNS:
            raise ValueError(f"without {', '.join(sorted(missing)) or 'a study of a known kind'}")
        file = f"{name}/{FINDINGS}"
        findings = Findings.model_validate(load_json(folder.read(file)))
    except ValueError as error:
        raise UserError(
            "not a file that an experiment leaves",
            file=folder.full(file),
            found=str(error).splitlines()[0],
            fix="carry the experiment out once more, or remove its folder",
        ) from None
    return Found(asked, read_lines(folder.full(f"{name}/{TABLE}")), findings)


def write_figures(folder: Store, experiments: Iterable[Found]) -> list[str]:
    """Draw all figures and write the page; the names of the files, the page first."""
    sections, files = [], []
    for one in experiments:
        images = {}
        for figure in one.findings.figures:
            for name, content in drawn(figure).items():
                file = f"{FIGURES}/{one.name}-{name}"
                folder.write(file, content)
                files.append(file)
                if name.endswith(".svg"):
                    images[figure.name] = content
        sections.append(_section(one, images))
    folder.write(PAGE, _page(sections).encode())
    return [PAGE, *files]


def _section(one: Found, images: Mapping[str, bytes]) -> dict[str, Any]:
    points = one.asked["points"]
    labels = sorted({name for point in points for name in point} - {"key"})
    return {
        **{name: one.asked[name] for name in ("name", "hypothesis", "stopping", "margin")},
        "summary": DESIGNS[one.asked["study"]].summary,
        "primary": _primary(one.asked["primary"]),
        "runs": _runs(one),
        "computed": _computed(one.lines.values()),
        "claims": [
            {"claim": claim.claim, "verdict": claim.verdict, "figures": claim_figures(claim)}
            for claim in one.findings.claims
        ],
        "figures": [
            {
                "image": _inline(images[figure.name]),
                "alternative": alternative(figure),
                "caption": figure.caption,
            }
            for figure in one.findings.figures
        ],
        "tables": [
            {
                "title": table.title,
                "columns": table.columns,
                "rows": [[cell(value) for value in row] for row in table.rows],
                "note": table.note,
            }
            for table in one.findings.tables
        ],
        "notes": one.findings.notes,
        "points": points,
        "labels": labels,
    }


def _inline(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def cell(value: Cell) -> str:
    """A figure as tables show it.

    >>> cell(0.0123456), cell(1234567), cell(None), cell("on")
    ('0.01235', '1,234,567', '-', 'on')
    """
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else value


def claim_figures(claim: Claim) -> str:
    """The numbers behind a verdict in one line."""
    names = [name for name in FIRST if name in claim.figures]
    names += [name for name in claim.figures if name not in FIRST]
    return ", ".join(f"{name} {_plain(claim.figures[name])}" for name in names)


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " to ".join(_plain(part) for part in value)
    return cell(value) if value is None or isinstance(value, str | int | float) else str(value)


def _primary(primary: Mapping[str, Any]) -> str:
    sources = ", ".join(primary["sources"]) or "the sources of the stable phase"
    unit = "bits per byte" if primary["unit"] == "bits_per_byte" else "nats per token"
    return f"held-out loss, mean over {sources}, in {unit}"


def _runs(one: Found) -> str:
    lines = one.lines.values()
    tokens = sum(line.outcome.own_tokens for line in lines)
    operations = sum(line.outcome.operations for line in lines)
    diverged = sum(line.outcome.diverged is not None for line in lines)
    seeds = sorted({line.settings["seed"] for line in lines})
    said = (
        f"{len(one.lines)} runs, {tokens:,} tokens, {operations:.3g} floating-point operations, "
        f"seeds {', '.join(map(str, seeds))}"
    )
    return f"{said}; {diverged} diverged" if diverged else said


def _computed(lines: Iterable[Line]) -> str:
    rows = sorted(
        {
            f"torch {line.provenance['torch']}, {line.provenance['threads']} threads, "
            f"arithmetic {line.provenance['arithmetic']}, {line.provenance.get('processor', 'cpu')}"
            for line in lines
        }
    )
    return "; ".join(rows)


def _page(sections: list[dict[str, Any]]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined
    )
    return visible(
        environment.get_template("experiments.html.j2").render(
            title="Experiments",
            lead="What small models were found to do: each question as it was fixed beforehand, "
            "its verdict, its figures with 95 % intervals, and the keys of the runs behind them.",
            style=(folder / "experiments.css").read_text(),
            experiments=sections,
        )
    )
