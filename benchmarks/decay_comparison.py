"""Instruction data in the decay: what it buys on held-out conversations and what it costs
elsewhere, over several seeds.

    PYTHONPATH=. python benchmarks/decay_comparison.py [--seeds 1 2 3]
        [--recipe recipes/quickstart.yaml] [--runs runs]

The claim is MiniCPM's (arXiv 2404.06395, section 5.3 and Table 1): put instruction data into the
decay, not only behind it. The recipe says how: its mixture decays with a source the stable phase
does not show, its first branch decays without it, from the same stable checkpoint, at the same
tokens. A seed decides initial weights and the order of data; documents, tokenizer, shards and
held-out windows are the same for all. Corpus and shards are made once; a second call finds
trainings that are there already.

Recorded per seed: held-out loss of every source before the decay and after each ending (nats per
token, bits per byte), and the mean training loss over the last steps of each phase. Over the seeds:
the mean difference without minus with, as the run's own table has the branch minus the run, with a
95 % t-interval, and in how many seeds a loss ended
the decay below where the stable phase left it. Writes ``benchmarks/results/decay_comparison.json``.
"""

from __future__ import annotations

import os

# as the windtunnel command does: steadier on shared cores
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from scipy import stats

from artifacts.paths import Store
from pipelines.commands.options import print_table
from pipelines.commands.terminal.progress import TerminalProgress
from pipelines.executors.progress import Progress
from pipelines.recipe.load import LoadedRecipe, load_recipe
from pipelines.report.training_metrics import Ending, Trainings, read_trainings
from pipelines.run.driver import run_recipe
from pipelines.training.train import train_recipe
from pipelines.training.watch import TrainingWatch

RESULT = Path(__file__).parent / "results" / "decay_comparison.json"
WITH, WITHOUT = "with", "without"
LAST_STEPS = 10  # of a phase: its training loss is the mean over these
CONFIDENCE = 0.95


def main() -> None:
    arguments = parse()
    loaded = [recipe_of(arguments.recipe, seed) for seed in arguments.seeds]
    with TerminalProgress() as progress:
        outcome = run_recipe(
            loaded[0], arguments.runs, workers=arguments.workers, until="shards", progress=progress
        )
        runs = []
        for seed, recipe in zip(arguments.seeds, loaded, strict=True):
            progress.note(f"seed {seed}")
            runs.append(
                measure(seed, trained(recipe, outcome.store, dict(outcome.record), progress))
            )
    first = loaded[0].recipe
    assert first.mixture is not None
    shown = {name for phase in first.mixture.phases if phase.decay for name in phase.weights}
    result = {
        "benchmark": "decay_comparison",
        "machine": machine(),
        "recipe": arguments.recipe.as_posix(),
        "seeds": arguments.seeds,
        "instruction_sources": sorted(
            shown - {name for phase in first.branches[0].phases for name in phase.weights}
        ),
        "last_steps": LAST_STEPS,
        "confidence": CONFIDENCE,
        **facts(loaded[0], runs),
        "differences": differences(runs),
        "below_the_stable_phase": below(runs),
        "runs": runs,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    show(result)


def parse() -> argparse.Namespace:
    return several_seeds(seeds_parser(__doc__))


def seeds_parser(description: str | None) -> argparse.ArgumentParser:
    """Options of a benchmark that trains a recipe with several seeds."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", type=Path, default=Path("recipes/quickstart.yaml"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    return parser


def several_seeds(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments; an error where there are too few seeds for an interval."""
    arguments = parser.parse_args()
    if len(set(arguments.seeds)) < 2:
        parser.error("an interval needs at least two different seeds")
    return arguments


def recipe_of(path: Path, seed: int) -> LoadedRecipe:
    """The recipe with this seed for initial weights and order. Only the first seed's corpus is
    made, so the others share it.
    """
    return load_recipe(
        path,
        [
            "name=decay-comparison",
            f"seed={seed}",
            f"train.seed={seed}",
            "prompts=[]",
            "train.tensorboard=false",
        ],
    )


def trained(
    loaded: LoadedRecipe, store: Store, record: dict[str, Any], progress: Progress
) -> Trainings:
    """Train both endings, or find them, and read what they left."""
    train_recipe(loaded, store, record, TrainingWatch(progress))
    found = read_trainings(store, record)
    assert found is not None
    return found


def measure(seed: int, trainings: Trainings) -> dict[str, Any]:
    """Everything recorded of one seed."""
    main, other = trainings.main, trainings.branches[0]
    before = trainings.stable_steps
    return {
        "seed": seed,
        "stable_steps": before,
        "decay_steps": main.last_step - before,
        "tokens_per_second": round(
            sum(e.tokens for e in (main, other)) / sum(e.seconds for e in (main, other))
        ),
        "parameters": trainings.parameters,
        "held_out": {
            "before": held_out(main, before),
            WITH: held_out(main, main.last_step),
            WITHOUT: held_out(other, other.last_step),
        },
        "training": {
            "stable": training_loss(main, before),
            WITH: training_loss(main, main.last_step),
            WITHOUT: training_loss(other, other.last_step),
        },
    }


def held_out(ending: Ending, step: int) -> dict[str, dict[str, float | None]]:
    return {
        name: {"nats": loss.loss, "bits_per_byte": loss.bits_per_byte}
        for name, loss in sorted(ending.held_out(step).items())
    }


def training_loss(ending: Ending, last: int) -> dict[str, float]:
    """Mean nats per target token of each source over the steps up to ``last``, weighted by
    targets.
    """
    nats: dict[str, float] = {}
    targets: dict[str, float] = {}
    for line in ending.train:
        if last - LAST_STEPS < line["step"] <= last:
            for name, value in line["sources"].items():
                if value["tokens"]:
                    nats[name] = nats.get(name, 0.0) + value["loss"] * value["tokens"]
                    targets[name] = targets.get(name, 0.0) + value["tokens"]
    return {name: nats[name] / targets[name] for name in sorted(nats)}


def facts(loaded: LoadedRecipe, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is the same for every seed."""
    train, first = loaded.recipe.train, runs[0]
    return {
        "model": loaded.recipe.model.preset,
        "parameters": first["parameters"],
        "sequence_length": train.sequence_length,
        "batch_tokens": train.batch_tokens,
        "steps": {"stable": first["stable_steps"], "decay": first["decay_steps"]},
        "tokens": {
            name: first[f"{name}_steps"] * train.batch_tokens for name in ("stable", "decay")
        },
    }


def differences(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Without minus with after the decay, the branch minus the run, per held-out source and unit:
    mean over the seeds and its t-interval.
    """
    found = {}
    for name in runs[0]["held_out"][WITH]:
        found[name] = {
            unit: interval(
                [
                    run["held_out"][WITHOUT][name][unit] - run["held_out"][WITH][name][unit]
                    for run in runs
                ]
            )
            for unit in ("nats", "bits_per_byte")
        }
    return found


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean of paired differences with Student's interval, n - 1 degrees of freedom."""
    mean, error = statistics.fmean(values), statistics.stdev(values) / len(values) ** 0.5
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return {"mean": mean, "low": mean - reach, "high": mean + reach}


def below(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, int | None]]]:
    """In how many seeds a loss is lower at the end of each decay than at the end of the stable
    phase; None where one was not measured.
    """
    found: dict[str, dict[str, dict[str, int | None]]] = {"held_out": {}, "training": {}}
    for kind, start in (("held_out", "before"), ("training", "stable")):
        names = sorted({name for run in runs for part in run[kind].values() for name in part})
        for name in names:
            found[kind][name] = {
                ending: _lower(
                    [(run[kind][start].get(name), run[kind][ending].get(name)) for run in runs]
                )
                for ending in (WITH, WITHOUT)
            }
    return found


def _lower(pairs: Sequence[tuple[Any, Any]]) -> int | None:
    plain = [
        tuple(value["nats"] if isinstance(value, dict) else value for value in pair)
        for pair in pairs
    ]
    return None if any(None in pair for pair in plain) else sum(end < start for start, end in plain)


def show(result: dict[str, Any]) -> None:
    """The figures as tables."""
    runs, count = result["runs"], len(result["seeds"])
    rows = []
    for name, units in result["differences"].items():
        nats = {
            part: statistics.fmean(run["held_out"][part][name]["nats"] for run in runs)
            for part in ("before", WITH, WITHOUT)
        }
        difference, bits = units["nats"], units["bits_per_byte"]["mean"]
        held = result["below_the_stable_phase"]["held_out"][name]
        rows.append(
            (
                name,
                *(f"{value:.4f}" for value in nats.values()),
                f"{difference['mean']:+.4f}",
                f"{difference['low']:+.4f} to {difference['high']:+.4f}",
                f"{bits:+.4f}",
                *(f"{held[ending]} of {count}" for ending in (WITH, WITHOUT)),
            )
        )
    print(
        f"{count} seeds, {result['tokens']['stable']:,} tokens stable, "
        f"{result['tokens']['decay']:,} tokens decay; held-out nats/token\n"
    )
    header = (
        "source",
        "before",
        WITH,
        WITHOUT,
        "difference",
        "95 % interval",
        "bits/byte",
        "with below",
        "without below",
    )
    print_table(header, rows)
    rows = []
    for name, lower in result["below_the_stable_phase"]["training"].items():
        means = []
        for part in ("stable", WITH, WITHOUT):
            values = [run["training"][part][name] for run in runs if name in run["training"][part]]
            means.append(f"{statistics.fmean(values):.4f}" if values else "-")
        rows.append(
            (
                name,
                *means,
                *("-" if lower[e] is None else f"{lower[e]} of {count}" for e in (WITH, WITHOUT)),
            )
        )
    print(f"\ntraining loss over the last {LAST_STEPS} steps of each phase, nats/token\n")
    print_table(("source", "stable", WITH, WITHOUT, "with below", "without below"), rows)
    print(f"\n{RESULT}", file=sys.stderr)


def machine() -> dict[str, Any]:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    return {
        "processor": next(
            (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
            platform.processor(),
        ),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in ("torch", "numpy", "scipy")},
    }


if __name__ == "__main__":
    main()
