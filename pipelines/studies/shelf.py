"""Where runs of experiments are kept: their lines, and checkpoints that endings start from.

    RUN/studies/runs/KEY/   line.json, time.json, checkpoints/, metrics/

Lines may also come from tables (:meth:`Shelf.add`): those runs count as made and have no folder. A
run that lacks a checkpoint which an ending needs is made again from its start, and has to come to
the same line.
"""

from __future__ import annotations

from collections.abc import Mapping

from artifacts.errors import UserError
from artifacts.fingerprints import load_json
from artifacts.paths import Store
from pipelines.studies.lines import Line, parse
from pipelines.studies.one_run import LINE, TIMES
from trainer.checkpoints.paths import state_name

RUNS = "runs"


class Shelf:
    """Lines of runs by key, and their folders below ``store``. ``expected``: lines that runs have
    to come to when they are made here, by key.
    """

    def __init__(self, store: Store, expected: Mapping[str, Line] | None = None) -> None:
        self.store = store
        self.lines: dict[str, Line] = {}
        self._expected = dict(expected or {})
        for name in store.names(f"{RUNS}/") if store.exists(RUNS) else []:
            parts = name.split("/")
            if len(parts) == 3 and parts[2] == LINE:
                self.lines[parts[1]] = parse(store.read(name), store.full(name))

    def add(self, lines: Mapping[str, Line]) -> None:
        """Count these as made."""
        self.lines = {**lines, **self.lines}

    def folder(self, key: str) -> str:
        """Where a run lies, whether it does or not."""
        return self.store.full(f"{RUNS}/{key}")

    def has_checkpoint(self, key: str, step: int) -> bool:
        return self.store.exists(f"{RUNS}/{key}/{state_name(step)}")

    def begun(self, key: str) -> str:
        """The folder for a run that is about to be made, or gone on with. One that ended lies there
        no longer: it is made from its start.
        """
        if self.store.exists(f"{RUNS}/{key}/{LINE}"):
            self.store.delete(f"{RUNS}/{key}/{LINE}")  # first: without it the run is not made
            self.store.delete(f"{RUNS}/{key}")
        if key in self.lines:
            self._expected[key] = self.lines.pop(key)
        return self.folder(key)

    def put(self, key: str, line: Line) -> None:
        """Count a run as made whose line lies there. Raises: UserError when it was made before and
        came to other figures.
        """
        before = self._expected.get(key)
        if before is not None and not line.same_figures(before):
            raise UserError(
                "a run that was made again came to other figures",
                file=self.folder(key),
                found=_losses(line),
                allowed=[_losses(before)],
                fix="look whether the machine, its libraries or the code differ; remove the table "
                "that holds the former line to go on with this one",
            )
        self.lines[key] = line

    def write(self, key: str, line: Line) -> None:
        """Write and count the line of a run that needs no training."""
        self.store.write(f"{RUNS}/{key}/{LINE}", line.to_json())
        self.lines[key] = line

    def seconds(self, key: str) -> float | None:
        """How long the steps of a run took, None where it was made elsewhere."""
        name = f"{RUNS}/{key}/{TIMES}"
        if not self.store.exists(name):
            return None
        try:
            return float(load_json(self.store.read(name))["training"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                "not the time of a run",
                file=self.store.full(name),
                found=str(error),
                fix="remove the file; no figure of the run depends on it",
            ) from None


def _losses(line: Line) -> str:
    outcome = line.outcome
    if outcome.diverged is not None:
        return f"diverged at step {outcome.diverged.step}"
    return ", ".join(f"{name} {loss.nats}" for name, loss in outcome.losses.items())
