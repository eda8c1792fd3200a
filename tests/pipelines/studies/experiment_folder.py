"""A folder with experiments that were carried out, made up: figures, lines, and what they say."""

from __future__ import annotations

from pathlib import Path

from artifacts.fingerprints import canonical_json
from artifacts.paths import Store
from pipelines.studies.lines import Line, to_parquet
from trainer.experiments.findings import Claim, Figure, Findings, Panel, Series, Table
from trainer.experiments.outcomes import Course, Losses, Outcome

HOSTILE = "<script>alert(1)</script> ‮ & \"'"


def figure(name: str = "losses") -> Figure:
    series = (
        Series(
            name="on",
            x=(1.0, 2.0, 4.0),
            y=(3.0, None, 2.0),
            low=(2.9, None, 1.9),
            high=(3.1, None, 2.1),
        ),
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
