"""The wind tunnel's experiments on the sample corpus, run and kept with their figures.

    PYTHONPATH=. python -m benchmarks.experiments.studies [--only lr law] [--runs runs]
        [--workers 2] [--again]

Carries out the files of ``recipes/experiments`` (the walk's are left out) and writes of each, below
``benchmarks/results/experiments/NAME/``, what was asked, the line of every run, what they say, and
the wall time of every run made here; then the figures of all, and ``experiments.html``. A run whose
line is there already counts as made, so a second call makes nothing: give ``--again`` to make all
runs of the chosen experiments once more and compare every figure. However a call ends, the lines of
all runs made so far are kept in ``made.parquet``, so that another machine goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

# as the windtunnel command does: steadier on shared cores
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from artifacts.paths import Store
from pipelines.commands.terminal.progress import TerminalProgress
from pipelines.commands.terminal.shown import ShownConsole
from pipelines.commands.terminal.study import print_study
from pipelines.studies.experiment import LoadedExperiment, load_experiment
from pipelines.studies.lines import read_lines, to_parquet
from pipelines.studies.pages import found_in, write_figures
from pipelines.studies.shelf import Shelf
from pipelines.studies.study import STUDIES, StudyOutcome, repeat_study, run_study
from pipelines.studies.written import TABLE

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = ROOT / "recipes" / "experiments"
RESULTS = ROOT / "benchmarks" / "results" / "experiments"
WALK = "walk-"
TIMES = "times.json"
MADE = RESULTS / "made.parquet"
RECIPE = "wind-tunnel"


def main() -> None:
    arguments = parse()
    try:
        carry_out(arguments)
    finally:
        keep_lines(arguments.runs)
    store = Store(RESULTS)
    for file in write_figures(store, found_in(store)):
        print(store.full(file), file=sys.stderr)


def carry_out(arguments: argparse.Namespace) -> None:
    """The experiments that were asked for, one after another."""
    console = ShownConsole()
    with TerminalProgress() as progress:
        for name in arguments.only:
            progress.note(name)
            loaded = with_lines(load_experiment(FILES / f"{name}.yaml"))
            if arguments.again:
                count = repeat_study(
                    loaded, arguments.runs, workers=arguments.workers, progress=progress
                )
                progress.note(f"{count} runs came to the same figures")
                continue
            outcome = run_study(
                loaded, arguments.runs, workers=arguments.workers, progress=progress
            )
            keep(outcome)
            print_study(console, outcome)


def parse() -> argparse.Namespace:
    names = sorted(path.stem for path in FILES.glob("*.yaml") if not path.stem.startswith(WALK))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=names, choices=names, metavar="NAME")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--again", action="store_true")
    return parser.parse_args()


def with_lines(loaded: LoadedExperiment) -> LoadedExperiment:
    """The experiment with the lines of all results that are there."""
    tables = tuple(
        str(path) for path in (*sorted(RESULTS.glob(f"*/{TABLE}")), MADE) if path.exists()
    )
    experiment = loaded.experiment.model_copy(update={"lines": tables})
    return LoadedExperiment(experiment, loaded.design, loaded.recipe, loaded.file)


def keep_lines(runs: str) -> None:
    """Add the lines of all runs that lie in the studies of the base recipe to those kept."""
    folder = Path(runs) / RECIPE / STUDIES
    lines = dict(read_lines(MADE)) if MADE.exists() else {}
    lines |= Shelf(Store(folder)).lines if folder.exists() else {}
    kept = {key for path in RESULTS.glob(f"*/{TABLE}") for key in read_lines(path)}
    rest = [line for key, line in lines.items() if key not in kept]
    if rest:
        MADE.write_bytes(to_parquet(rest))
    else:
        MADE.unlink(missing_ok=True)


def keep(outcome: StudyOutcome) -> None:
    """Copy what an experiment left into the results; times of earlier calls stay."""
    folder = RESULTS / outcome.experiment.experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    for name in outcome.folder.names():
        if "/" not in name:
            (folder / name).write_bytes(outcome.folder.read(name))
    asked = json.loads((folder / "experiment.json").read_text())
    asked["lines"] = []  # where they lay says nothing of the experiment
    (folder / "experiment.json").write_text(json.dumps(asked, sort_keys=True) + "\n")
    times = folder / TIMES
    before = json.loads(times.read_text()) if times.exists() else {}
    shelf = Shelf(Store(outcome.ground.store.full(STUDIES)))
    known = {key: shelf.seconds(key) for key in outcome.lines}
    seconds = {key: value for key, value in known.items() if value is not None}
    times.write_text(json.dumps({**before, **seconds}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
