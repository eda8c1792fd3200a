"""Export a model of a run: which checkpoint, and what its card says of corpus, losses and costs.

done = export_run_model("runs", "quickstart", "model")
print(done.folder, done.logits.largest_difference)
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from artifacts.errors import UserError
from artifacts.paths import Store
from pipelines.report.training_cost import TrainingCost, training_costs
from pipelines.report.training_metrics import MAIN, Ending, Trainings, read_trainings
from pipelines.run.export import source_cards
from pipelines.run.record import RECORD, load_run, read_record
from pipelines.writers.dataset_card import hub_languages
from trainer.checkpoints.checkpoint import Checkpoint, latest, load
from trainer.checkpoints.paths import EXAMPLE, STATE
from trainer.export.card import Section, Story, table
from trainer.export.export import ExportedModel, ExportSettings, export_model

_LISTED = 8  # licences of a source that a table names


def export_run_model(
    runs: str,
    target: str,
    folder: str | Path,
    settings: ExportSettings | None = None,
    branch: str | None = None,
) -> ExportedModel:
    """Export a checkpoint by its folder, or the last one of a run by its name or folder: of
    the run's own training, or of ``branch``.

    Raises: UserError when there is no such run, branch or checkpoint, and as
    :func:`trainer.export.export.export_model`.
    """
    checkpoint = chosen_checkpoint(runs, target, branch)
    return export_model(checkpoint, folder, settings, story_of(checkpoint))


def chosen_checkpoint(runs: str, target: str, branch: str | None = None) -> Checkpoint:
    """The checkpoint that a folder or a run stands for. Raises: UserError when there is none."""
    if Store(target).exists(STATE):
        if branch is not None:
            raise UserError(
                "a checkpoint's folder has no branches",
                parameter="branch",
                found=branch,
                fix="name the run to choose one of its branches, or leave it out",
            )
        return load(target)
    store, record = _run(runs, target)
    found = latest(Store(store.full(_training_folder(store, record, branch))))
    if found is None:
        raise UserError(
            "the training has no checkpoint yet", file=store.root, fix="train it to a checkpoint"
        )
    return found


def _run(runs: str, target: str) -> tuple[Store, dict[str, Any]]:
    """A run by name or folder. Raises: UserError when there is none, and for another folder."""
    try:
        return load_run(runs, target)
    except UserError:
        if not Store(target).exists(""):
            raise
        raise UserError(
            "neither a checkpoint nor a run",
            file=target,
            fix=f"name a run, or a folder {EXAMPLE} of one",
        ) from None


def _training_folder(store: Store, record: dict[str, Any], branch: str | None) -> str:
    """The folder in the run of its training, or of a branch."""
    if not record["training"]:
        raise UserError(
            "this run has trained nothing yet",
            file=store.root,
            fix="give its recipe a mixture and run it",
        )
    if branch is None:
        return str(record["training"]["folder"])
    if branch not in record["branches"]:
        raise UserError(
            "no such branch of the run",
            parameter="branch",
            found=branch,
            allowed=sorted(record["branches"]),
        )
    return str(record["branches"][branch]["folder"])


def story_of(checkpoint: Checkpoint) -> Story | None:
    """What the run around a checkpoint knows of it; None where it lies in no run."""
    found = run_around(checkpoint.folder)
    if found is None:
        return None
    store, record = found
    trainings = read_trainings(store, record)
    ending = _ending(trainings, store, checkpoint)
    cards = source_cards(store, record)
    languages = [language for language in hub_languages(cards) if language != "code"]
    name = str(record["name"])
    if ending is not None and ending.name != MAIN:
        name = f"{name}, {ending.name}"
    sections = [
        *_data(record, cards),
        *_losses(ending),
        *_cost(training_costs(record, trainings), ending),
        *_recipe(record),
    ]
    return Story(name, languages, sections)


def run_around(folder: str) -> tuple[Store, dict[str, Any]] | None:
    """The run that a folder lies in, None where it lies in none."""
    place = folder
    while "/" in place.rstrip("/"):
        place = place.rstrip("/").rpartition("/")[0]
        store = Store(place or "/")
        if store.exists(RECORD):
            return store, read_record(store)
    return None


def _ending(trainings: Trainings | None, store: Store, checkpoint: Checkpoint) -> Ending | None:
    """The ending of the run that wrote a checkpoint."""
    if trainings is None:
        return None
    own = checkpoint.folder.rsplit("/", 2)[0]
    return next((one for one in trainings.endings if store.full(one.folder) == own), None)


def _data(record: dict[str, Any], cards: Sequence[Any]) -> Iterator[Section]:
    """The sources, with their licences and what the training was shown of them."""
    shown = (record["training"] or {}).get("sources", {})
    licences = {card.name: _counts(card.licences) for card in cards}
    kept = {card.name: f"{card.kept:,}" for card in cards}
    rows = [
        (
            name,
            kept.get(name.split("/")[0], "-"),
            f"{facts['tokens']:,}",
            f"{facts['epochs']:.2f}",
            licences.get(name.split("/")[0], "-"),
        )
        for name, facts in sorted(shown.items())
    ]
    head = ("source", "documents kept", "tokens shown", "epochs", "licences, as the source says")
    note = "These are licences of texts. What licence the model has is its maker's to say."
    yield Section("Data", [*table(head, rows), "", note])


def _counts(values: Any) -> str:
    """Licences with their documents, the most frequent first."""
    found = sorted(values.items(), key=lambda item: (-item[1], str(item[0])))
    said = [f"{name or 'none said'} {number:,}" for name, number in found[:_LISTED]]
    rest = len(found) - _LISTED
    return ", ".join([*said, f"{rest} more"] if rest > 0 else said)


def _losses(ending: Ending | None) -> Iterator[Section]:
    """Held-out losses where they were last measured."""
    if ending is None or not ending.validation:
        return
    step = ending.validation[-1]["step"]
    rows = [
        (
            source,
            f"{loss.loss:.4f}",
            "-" if loss.bits_per_byte is None else f"{loss.bits_per_byte:.4f}",
        )
        for source, loss in sorted(ending.held_out(step).items())
    ]
    note = f"Of held-out documents, after step {step:,}."
    lines = [note, "", *table(("source", "nats per token", "bits per byte"), rows)]
    yield Section("Losses", lines)


def _cost(costs: Sequence[TrainingCost], ending: Ending | None) -> Iterator[Section]:
    own = next((cost for cost in costs if ending is not None and cost.ending is ending), None)
    if own is None:
        return
    rows = [
        ("updates", f"{own.steps:,}"),
        ("tokens", f"{own.tokens:,}"),
        ("seconds of updates", f"{own.seconds:,.0f}"),
    ]
    if own.operations is not None:
        rows.append(("floating-point operations", f"{own.operations:.3g}"))
    lines = list(table(("what", "value"), rows))
    if own.ending.name != MAIN:
        lines += ["", f"After {own.ending.from_step:,} updates that the run's own training made."]
    yield Section("Cost", lines)


def _recipe(record: dict[str, Any]) -> Iterator[Section]:
    """The recipe as it resolved."""
    text = io.StringIO()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.dump(record["recipe"], text)
    yield Section("Recipe", ["```yaml", *text.getvalue().rstrip().split("\n"), "```"])
