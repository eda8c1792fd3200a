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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.errors import Parameter, UserError
from artifacts.statistics import half_width
from pipelines.readers.texts import text_files, texts_of
from pipelines.run.benchmark_tasks import asked_tasks
from pipelines.run.model_export import chosen_checkpoint, run_around
from pipelines.run.program_scores import Programs
from pipelines.training.materials import Materials
from tokenizer.encode import Tokenizer
from trainer.checkpoints.checkpoint import TOKENIZER
from trainer.checkpoints.recorded import trained_window
from trainer.checkpoints.weights import filled_model, model_of
from trainer.devices.precision import device_of
from trainer.evaluation.held_out import Measured, held_out
from trainer.evaluation.tasks.scores import Score
from trainer.evaluation.tasks.scoring import score_tasks
from trainer.evaluation.text_loss import TextLosses, text_losses
from trainer.export.config_json import CONFIG
from trainer.export.read import read_model
from trainer.model import Model
from trainer.objectives.losses import Loss, token_bytes
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
    benchmarks.
    """

    model: str
    window: int
    rows: tuple[Row, ...]
    scores: tuple[Score, ...] = ()

    def to_json(self, *, items: bool = False) -> dict[str, Any]:
        """Everything as plain values; with ``items`` the scores of every item too."""
        rows = [row.to_json() for row in self.rows]
        scores = [score.to_json(items=items) for score in self.scores]
        return {"model": self.model, "window": self.window, "rows": rows, "scores": scores}


@dataclass(frozen=True)
class _Subject:
    """A model to measure, and the longest text it was made for."""

    folder: str
    model: Model
    tokenizer: Tokenizer
    window: int


def evaluate(
    runs: str,
    target: str,
    *,
    texts: Sequence[str] = (),
    text_field: str = "text",
    tasks: Sequence[str] = (),
    programs: Programs | None = None,
    limit: int | None = None,
    branch: str | None = None,
    window: int | None = None,
) -> Evaluation:
    """Measure a checkpoint, the last one of a run or of its ``branch``, or a folder that ``export``
    or another program wrote.

    ``texts``: files or globs; records that readers know (``text_field`` of each), of others the
    lines. ``tasks``: files of benchmarks or globs, with ``limit`` so many items of each; where the
    fields do not tell a file's layout, ``layout=glob``. ``programs``: which it is to write, and
    that they may be run. ``window``: tokens that are seen at once;
    default what the model was trained on. Raises: UserError where there is no model, nothing to
    measure, or a file that cannot be read.
    """
    asked = asked_tasks(tasks, limit if tasks or programs is None else None)
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
    if not rows and not asked and programs is None:
        raise UserError(
            "nothing to measure the model on",
            parameter="texts",
            found="a model outside a run with held-out documents",
            fix="name files with texts, or of benchmarks",
        )
    scores = score_tasks(subject.model, subject.tokenizer, asked, subject.window)
    if programs is not None:
        scores += programs.scores(subject.model, subject.tokenizer, subject.window, limit)
    return Evaluation(subject.folder, subject.window, tuple(rows), tuple(scores))


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
    )


def _held_out(subject: _Subject) -> Iterator[Row]:
    """The held-out documents of the run that a checkpoint lies in."""
    around = run_around(subject.folder)
    if around is None:
        return
    store, record = around
    if not record["shards"]:
        return
    materials = Materials.of(store, record)
    if materials.tokenizer.hash != subject.tokenizer.hash:
        return
    folders = materials.held_out(materials.folders, subject.window)
    if not folders:
        return
    objective = NextToken(token_bytes(subject.tokenizer))
    texts = held_out(folders, subject.tokenizer, sequence_length=subject.window)
    for name, measured in texts.measure(subject.model, objective).items():
        yield Row(HELD_OUT, name, _summed(measured))


def _summed(measured: Measured[Loss]) -> TextLosses:
    """A source's losses; the interval is over groups of its documents."""
    groups = [group for group in measured.groups if group.bytes]
    half = half_width([one.bytes for one in groups], [one.bits_per_byte for one in groups])
    return TextLosses(measured.documents or 0, measured.whole, half)
