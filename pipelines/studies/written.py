"""What an experiment leaves in its folder: what was asked, the table of its runs, what they say.

    experiment.json       the experiment with all defaults, labels of all runs, how many held-out
                          documents training shards nearly hold
    experiments.parquet   a line for each run
    findings.json         verdicts, tables, figures as data, sentences

Beside them lies what the design has for other programs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from artifacts.fingerprints import canonical_json
from artifacts.paths import Store
from pipelines.studies.experiment import LoadedExperiment
from pipelines.studies.held_out import NearlyHeld
from pipelines.studies.lines import Line, to_parquet
from trainer.experiments.design import Measured
from trainer.experiments.findings import Findings

ASKED = "experiment.json"
TABLE = "experiments.parquet"
FINDINGS = "findings.json"


def written(
    folder: Store,
    loaded: LoadedExperiment,
    points: Sequence[Measured],
    lines: Mapping[str, Line],
    held: Sequence[NearlyHeld],
    findings: Findings,
    further: Mapping[str, bytes],
) -> None:
    """Write all of them. ``further``: files of the design by name."""
    asked = {
        **loaded.plain(),
        "held_out": [one.model_dump(mode="json") for one in held],
        "points": [
            {**one.point.labels, "key": one.outcome.key}
            for one in sorted(points, key=lambda one: (one.outcome.key, str(one.point.labels)))
        ],
    }
    folder.write(ASKED, canonical_json(asked) + b"\n")
    folder.write(TABLE, to_parquet(lines.values()))
    folder.write(FINDINGS, canonical_json(findings.model_dump(mode="json")) + b"\n")
    for name, content in sorted(further.items()):
        folder.write(name, content)
