"""What the new checkout makes of folders that the old one wrote: it goes on, and makes nothing
again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .cases import WORKERS, Case, dedup_run, third_batch
from .checkouts import CallFailedError, Checkout, Work
from .inputs import TINY
from .left_out import BY_NATURE, OF_A_RESUMED_TRAINING, ON_A_SECOND_CALL, Leaving
from .trees import Compared, Difference, compare_trees

STOPPED_AT = 12  # of the 25 steps of tiny: between two checkpoints that the recipe asks for


@dataclass(frozen=True)
class Pair:
    """Two checkouts and the folder both work in."""

    old: Checkout
    new: Checkout
    work: Work


@dataclass(frozen=True)
class Held:
    """Two folders that were held against each other, and what was found."""

    old: Path
    new: Path
    compared: Compared


def compare_case(pair: Pair, case: Case) -> Held:
    """Run a case in both checkouts."""
    for checkout in (pair.old, pair.new):
        with pair.work.running(checkout.side, case.name) as place:
            case.run(partial(pair.work.call, checkout), pair.work.inputs, place)
    return _held(pair, case.name, "old", "new", BY_NATURE)


def run_again(pair: Pair, case: Case) -> Held:
    """The new checkout runs a recipe over the old one's finished folder: nothing is computed."""
    with pair.work.running("again", case.name, pair.work.of("old", case.name)) as place:
        recipe = pair.work.inputs / str(case.recipe)
        said = pair.work.call(pair.new, "run", recipe, "--runs", place, *WORKERS, "--json")
    held = _held(pair, case.name, "old", "again", ON_A_SECOND_CALL)
    computed = json.loads(said)["computed"]
    if computed:
        held.compared.differences.insert(
            0, Difference(".", f"{computed} units were computed again")
        )
    return held


def deduplicate_again(pair: Pair, case: Case) -> Held:
    """The new checkout deduplicates the same files into the old one's folder."""
    with pair.work.running("again", case.name, pair.work.of("old", case.name)) as place:
        dedup_run(partial(pair.work.call, pair.new), pair.work.inputs, place)
    return _held(pair, case.name, "old", "again", ON_A_SECOND_CALL)


def resume_training(pair: Pair, case: Case) -> Held:
    """The old checkout stops a training midway and the new one ends it; held against the old one's
    training that was not stopped.
    """
    work, recipe = pair.work, pair.work.inputs / TINY
    with work.running("stopped", case.name, work.of("old", case.name)) as place:
        run = place / "tiny"
        shutil.rmtree(run / "training")
        (run / "plan.json").unlink()
        work.call(pair.old, "train", recipe, "--runs", place, "--until-step", STOPPED_AT)
        steps = sorted(path.name for path in run.glob("training/*/checkpoints/step-*"))
        if not steps or int(steps[-1].removeprefix("step-")) != STOPPED_AT:
            raise CallFailedError(f"the training was to stop at step {STOPPED_AT}: {steps}")
        work.call(pair.new, "run", recipe, "--runs", place, *WORKERS)
    last = max(work.of("stopped", case.name).glob("tiny/training/*/checkpoints/step-*/state.json"))
    begun = [stretch["from_step"] for stretch in json.loads(last.read_bytes())["history"]]
    if begun != [0, STOPPED_AT]:
        raise CallFailedError(f"the training was to go on from step {STOPPED_AT}: {begun}")
    return _held(pair, case.name, "old", "stopped", OF_A_RESUMED_TRAINING)


def go_on_with_index(pair: Pair, case: Case) -> Held:
    """Both checkouts add a batch to the old one's index; the new one checks it first."""
    for checkout in (pair.old, pair.new):
        start = pair.work.of("old", case.name)
        with pair.work.running(f"third-{checkout.side}", case.name, start) as place:
            third_batch(partial(pair.work.call, checkout), pair.work.inputs, place)
    return _held(pair, case.name, "third-old", "third-new", BY_NATURE)


GOING_ON = (
    ("tiny again", "tiny", run_again),
    ("stages again", "stages", run_again),
    ("quickstart again", "quickstart", run_again),
    ("dedup-run again", "dedup-run", deduplicate_again),
    ("training resumed", "tiny", resume_training),
    ("index, a batch more", "dedup-index", go_on_with_index),
)
"""Name, the case whose old folder is gone on with, and how."""


def _held(pair: Pair, case: str, old: str, new: str, leavings: Sequence[Leaving]) -> Held:
    folders = pair.work.of(old, case), pair.work.of(new, case)
    return Held(*folders, compare_trees(*folders, leavings))
