"""What `dim_model_base` and the peak rate do to the quickstart's training, over several seeds.

    PYTHONPATH=. python benchmarks/tiny_base.py [--trials 256:0.01 128:0.01] [--seeds 1 2 3]
        [--recipe recipes/quickstart.yaml] [--runs runs]

MiniCPM's parameterisation divides logits by m = width / dim_model_base (arXiv 2404.06395, Table 2).
The preset ``tiny`` has width 128: with a base of 256 m is 0.5 and logits are doubled, with a base
of 128 it is 1. A trial is a base and a peak; the first trial is what the others are compared with.
A seed decides initial weights and order; documents, tokenizer, shards and held-out documents are
the same for all. Corpus and shards are made once; a second call finds trainings that are there.

Recorded of each trial and seed: the training loss of the first step (ln(vocabulary) says what an
even guess costs), the mean training loss of the ten steps up to step 100 and up to the last, and
the held-out loss, the mean over sources, at step 100 and at the end, all in nats per token. Over
the seeds: their means, and the difference to the first trial with Student's interval, paired by
seed. Writes ``benchmarks/results/tiny_base.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.decay_comparison import (
    CONFIDENCE,
    LAST_STEPS,
    interval,
    machine,
    seeds_parser,
    several_seeds,
    trained,
)
from pipelines.commands.options import print_table
from pipelines.commands.terminal.progress import TerminalProgress
from pipelines.recipe.load import LoadedRecipe, load_recipe
from pipelines.report.training_metrics import Ending
from pipelines.run.driver import run_recipe

RESULT = Path(__file__).parent / "results" / "tiny_base.json"
MIDDLE = 100
FIGURES = (
    "training, step 1",
    f"training, step {MIDDLE}",
    "training, end",
    f"held out, step {MIDDLE}",
    "held out, end",
)


def main() -> None:
    arguments = parse()
    loaded = recipe_of(arguments.recipe, arguments.trials[0], arguments.seeds[0])
    found: dict[str, dict[int, dict[str, float]]] = {trial: {} for trial in arguments.trials}
    with TerminalProgress() as progress:
        outcome = run_recipe(
            loaded, arguments.runs, workers=arguments.workers, until="shards", progress=progress
        )
        for seed in arguments.seeds:
            for trial in arguments.trials:
                progress.note(f"seed {seed}, base and peak {trial}")
                recipe = recipe_of(arguments.recipe, trial, seed)
                found[trial][seed] = measure(
                    trained(recipe, outcome.store, dict(outcome.record), progress).main
                )
    vocabulary = loaded.recipe.tokenizer.vocab_size if loaded.recipe.tokenizer else 0
    result = {
        "benchmark": "tiny_base",
        "machine": machine(),
        "recipe": arguments.recipe.as_posix(),
        "seeds": arguments.seeds,
        "confidence": CONFIDENCE,
        "last_steps": LAST_STEPS,
        "even_guess": math.log(vocabulary),
        "trials": [summary(found, trial, arguments.seeds) for trial in arguments.trials],
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    show(result)


def parse() -> argparse.Namespace:
    parser = seeds_parser(__doc__)
    parser.add_argument(
        "--trials",
        nargs="+",
        default=["256:0.01", "128:0.01"],
        help="BASE:PEAK, the first is what others are compared with",
    )
    return several_seeds(parser)


def recipe_of(path: Path, trial: str, seed: int) -> LoadedRecipe:
    """The recipe at this base and peak, with this seed for initial weights and order."""
    base, peak = trial.split(":")
    return load_recipe(
        path,
        [
            "name=tiny-base",
            f"model.dim_model_base={base}",
            f"train.schedule.peak={peak}",
            f"train.seed={seed}",
            "train.threads=1",  # as fast beside other work as without it
            "branches=[]",
            "prompts=[]",
            "train.tensorboard=false",
        ],
    )


def measure(ending: Ending) -> dict[str, float]:
    """The figures of one training, in nats per token."""
    last = ending.last_step
    lines = {line["step"]: line["loss"] for line in ending.train}
    values = (
        lines[1],
        statistics.fmean(lines[step] for step in range(MIDDLE - LAST_STEPS + 1, MIDDLE + 1)),
        statistics.fmean(lines[step] for step in range(last - LAST_STEPS + 1, last + 1)),
        held_out(ending, MIDDLE),
        held_out(ending, last),
    )
    return dict(zip(FIGURES, values, strict=True))


def held_out(ending: Ending, step: int) -> float:
    """Mean over the sources of their held-out losses after a step."""
    return statistics.fmean(value.loss for value in ending.held_out(step).values())


def summary(
    found: dict[str, dict[int, dict[str, float]]], trial: str, seeds: Sequence[int]
) -> dict[str, Any]:
    """A trial's means over the seeds, and its paired differences to the first trial."""
    base, peak = trial.split(":")
    first = found[next(iter(found))]
    own = found[trial]
    return {
        "dim_model_base": int(base),
        "peak": float(peak),
        "mean": {name: statistics.fmean(own[seed][name] for seed in seeds) for name in FIGURES},
        "difference": {
            name: interval([own[seed][name] - first[seed][name] for seed in seeds])
            for name in FIGURES
        },
        "seeds": {str(seed): own[seed] for seed in seeds},
    }


def show(result: dict[str, Any]) -> None:
    """The figures as a table."""
    rows = []
    for trial in result["trials"]:
        end = trial["difference"]["held out, end"]
        rows.append(
            (
                str(trial["dim_model_base"]),
                f"{trial['peak']:g}",
                *(f"{trial['mean'][name]:.3f}" for name in FIGURES),
                f"{end['mean']:+.3f}",
                f"{end['low']:+.3f} to {end['high']:+.3f}",
            )
        )
    print(f"{len(result['seeds'])} seeds; an even guess costs {result['even_guess']:.3f}\n")
    print_table(("base", "peak", *FIGURES, "difference at the end", "95 % interval"), rows)
    print(f"\n{RESULT}", file=sys.stderr)


if __name__ == "__main__":
    main()
