"""What a model is worth: by its losses on a run's held-out documents and on any texts, and by its
scores on benchmarks.

    found = evaluate("runs", "quickstart", texts=["held-out/*.jsonl.zst"], tasks=["bbh.jsonl"])
    for row in found.rows:
        print(row.name, row.losses.whole.bits_per_byte, row.losses.half_width)
    for score in found.scores:
        print(score.task, score.measure, score.mean, score.half_width)

Bits per byte compare between tokenizers. The held-out documents of a source are those that its
training was measured on, in its windows; texts of files are read whole
(:mod:`trainer.evaluation.text_loss`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artifacts.errors import Parameter, UserError
from artifacts.statistics.weighted_means import half_width
from pipelines.evaluation.contamination import Contamination, SeenItems, shown_sources
from pipelines.readers.texts import text_files, texts_of
from pipelines.recipe.after import OVERLAP
from pipelines.run.benchmark_tasks import asked_tasks
from pipelines.run.evaluate_harness import asked_of
from pipelines.run.model_export import chosen_checkpoint, run_around
from pipelines.run.program_scores import Programs
from pipelines.training.materials import Materials
from tokenizer.encode import Tokenizer
from trainer.checkpoints.checkpoint import TOKENIZER, Checkpoint
from trainer.checkpoints.recorded import plan_of, trained_window
from trainer.checkpoints.weights import filled_model, model_of
from trainer.devices.precision import device_of
from trainer.evaluation.harness.run import harness_scores
from trainer.evaluation.held_out import Measured, held_out
from trainer.evaluation.tasks.items import Item, Task
from trainer.evaluation.tasks.scores import Score
from trainer.evaluation.tasks.scoring import score_tasks
from trainer.evaluation.text_loss import TextLosses, text_losses
from trainer.export.config_json import CONFIG
from trainer.export.read import read_model
from trainer.model import Model
from trainer.objectives.losses import Loss
from trainer.objectives.next_token import NextToken

HELD_OUT, TEXTS = "held-out", "texts"


@dataclass(frozen=True)
class Row:
    """Losses of a source's held-out documents, or of a file's texts; ``unreadable`` records or
    lines of it were no text.
    """

    kind: str
    name: str
    losses: TextLosses
    unreadable: int = 0

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        whole = self.losses.whole
        return {
            "kind": self.kind,
            "name": self.name,
            "texts": self.losses.texts,
            "tokens": whole.tokens,
            "bytes": whole.bytes,
            "nats_per_token": whole.to_json()["loss"],
            "bits_per_byte": whole.to_json()["bits_per_byte"],
            "half_width": self.losses.half_width,
            "unreadable": self.unreadable,
        }


@dataclass(frozen=True)
class Evaluation:
    """What was found. ``model``: its folder; ``window``: tokens that it saw at once; ``scores`` on
    benchmarks; ``contamination`` of each, by name, where the training's shards were searched.
    """

    model: str
    window: int
    rows: tuple[Row, ...]
    scores: tuple[Score, ...] = ()
    contamination: Mapping[str, Contamination] = field(default_factory=dict)

    def to_json(self, *, items: bool = False) -> dict[str, Any]:
        """Everything as plain values; with ``items`` the scores of every item too."""
        rows = [row.to_json() for row in self.rows]
        scores = [score.to_json(items=items) for score in self.scores]
        return {
            "model": self.model,
            "window": self.window,
            "rows": rows,
            "scores": scores,
            "contamination": {name: one.to_json() for name, one in self.contamination.items()},
        }


@dataclass(frozen=True)
class _Subject:
    """A model to measure, and the longest text it was made for; the checkpoint that it is, None for
    a folder of an export.
    """

    folder: str
    model: Model
    tokenizer: Tokenizer
    window: int
    checkpoint: Checkpoint | None = None


def evaluate(
    runs: str,
    target: str,
    *,
    texts: Sequence[str] = (),
    text_field: str = "text",
    tasks: Sequence[str] = (),
    harness: Sequence[str] = (),
    programs: Programs | None = None,
    limit: int | None = None,
    branch: str | None = None,
    window: int | None = None,
    seen: bool = True,
) -> Evaluation:
    """Measure a checkpoint, the last one of a run or of its ``branch``, or a folder that ``export``
    or another program wrote.

    ``texts``: files or globs; records that readers know (``text_field`` of each), of others the
    lines. ``tasks``: files of benchmarks or globs, with ``limit`` so many items of each; where the
    fields do not tell a file's layout, ``layout=glob``. ``harness``: benchmarks and their files for
    :func:`~pipelines.run.evaluate_harness.asked_of`. ``programs``: which it is to write, and that
    they may be run. ``window``: tokens that are seen at once; default what the model was trained
    on. ``seen``: look for the items of tasks in the shards that the training was shown, which are
    read whole. Raises: UserError where there is no model, nothing to measure, or a file that cannot
    be read.
    """
    of_harness = asked_of(harness, limit)
    others = bool(of_harness) or programs is not None
    asked = asked_tasks(tasks, limit if tasks or not others else None)
    try:
        files = text_files(texts, text_field)
    except UserError as error:
        raise error.relocated(lambda address: (Parameter("texts"),)) from None
    subject = _subject(runs, target, branch, window)
    rows = [*_held_out(subject)]
    for file in files:
        losses: list[Loss] = []
        unreadable = 0
        for batch in texts_of(file, text_field):
            unreadable += batch.unreadable
            losses += text_losses(subject.model, subject.tokenizer, batch.texts, subject.window)
        rows.append(Row(TEXTS, file.path, TextLosses.of(losses), unreadable))
    if not rows and not asked and not others:
        raise UserError(
            "nothing to measure the model on",
            parameter="texts",
            found="a model outside a run with held-out documents",
            fix="name files with texts, or of benchmarks",
        )
    scores = [
        *score_tasks(subject.model, subject.tokenizer, asked, subject.window),
        *harness_scores(subject.model, subject.tokenizer, of_harness, subject.window),
    ]
    if programs is not None:
        scores += programs.scores(subject.model, subject.tokenizer, subject.window, limit)
    every = {one.benchmark: one.items for one in of_harness} | {
        one.name: one.items for one in asked
    }
    found = _seen(subject, every) if seen else {}
    return Evaluation(subject.folder, subject.window, tuple(rows), tuple(scores), found)


def _subject(runs: str, target: str, branch: str | None, window: int | None) -> _Subject:
    place = Path(target)
    if "://" not in target and (place / CONFIG).is_file():
        if branch is not None:
            raise UserError(
                "a folder of a model has no branches",
                parameter="branch",
                found=branch,
                fix="leave it out",
            )
        read = read_model(place)
        model = filled_model(read.said.config, read.weights, target).to(device_of("auto"))
        return _Subject(target, model, read.tokenizer, window or read.said.context)
    found = chosen_checkpoint(runs, target, branch)
    return _Subject(
        found.folder,
        model_of(found, device_of("auto")),
        Tokenizer.load(found.read(TOKENIZER)),
        window or trained_window(found),
        found,
    )


def _held_out(subject: _Subject) -> Iterator[Row]:
    """The held-out documents of the run that a checkpoint lies in."""
    materials = _materials(subject)
    folders = materials and materials.held_out(materials.folders, subject.window)
    if not folders:
        return
    objective = NextToken.of(subject.tokenizer)
    texts = held_out(folders, subject.tokenizer, sequence_length=subject.window)
    for name, measured in texts.measure(subject.model, objective).items():
        yield Row(HELD_OUT, name, _summed(measured))


def _seen(subject: _Subject, asked: Mapping[str, tuple[Item, ...]]) -> dict[str, Contamination]:
    """What the sources that a checkpoint's training is shown hold of the items that are asked;
    nothing where they are not known.
    """
    materials = _materials(subject) if asked and subject.checkpoint is not None else None
    if materials is None or subject.checkpoint is None:
        return {}
    tasks = {name: Task(name, "", (), each) for name, each in asked.items()}
    items, step = SeenItems([*tasks.values()], materials), subject.checkpoint.state.step
    names = shown_sources(plan_of(subject.checkpoint), step, materials)
    return {
        name: Contamination.of(
            [item.key for item in task.items], items.shares(task, names), OVERLAP
        )
        for name, task in tasks.items()
    }


def _materials(subject: _Subject) -> Materials | None:
    """Those of the run that a checkpoint lies in, None where it lies in none, or the run's shards
    are of another tokenizer.
    """
    around = run_around(subject.folder)
    if around is None:
        return None
    store, record = around
    if not record["shards"]:
        return None
    materials = Materials.of(store, record)
    return materials if materials.tokenizer.hash == subject.tokenizer.hash else None


def _summed(measured: Measured[Loss]) -> TextLosses:
    """A source's losses; the interval is over groups of its documents."""
    groups = [group for group in measured.groups if group.bytes]
    half = half_width([one.bytes for one in groups], [one.bits_per_byte for one in groups])
    return TextLosses(measured.documents or 0, measured.whole, half)
