"""What a recipe asks for once its training has ended: scores of the endings, and an export.

    ledgers = after_training(loaded, store, record, progress)

The export is that of the run's own ending. It lies under ``export/`` of the run, and
``exported.json`` beside it says of which checkpoint and settings it is.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from artifacts.books import read_book, sealed
from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json, content_key
from artifacts.ledger import Ledger
from artifacts.paths import Store
from pipelines.evaluation.asked import asked_tasks
from pipelines.executors.progress import Progress
from pipelines.recipe.after import ExportAfter
from pipelines.recipe.load import LoadedRecipe
from pipelines.stages.step_names import EXPORT
from trainer.checkpoints.paths import state_name

FOLDER = "export"
BOOK = "exported.json"


def check_ahead(loaded: LoadedRecipe) -> None:
    """Refuse, before there is a corpus, tasks that cannot be read and a model that cannot be
    exported. Raises: UserError.
    """
    asked_tasks(loaded)
    if loaded.recipe.export is not None and loaded.recipe.model.qk_norm:
        raise loaded.file.error(
            ("model", "qk_norm"),
            "no layout to export to has a place for the gains of qk_norm",
            found=True,
            fix="leave qk_norm out, or export",
        )


def finished(store: Store, record: dict[str, Any]) -> bool:
    """Whether the run's training has come to its end."""
    training = record["training"]
    return store.exists(f"{training['folder']}/{state_name(training['steps'])}")


def after_training(
    loaded: LoadedRecipe, store: Store, record: dict[str, Any], progress: Progress
) -> list[Ledger]:
    """Score and export as the recipe says; nothing where the training has not ended, or it says
    nothing. Raises: UserError as what it calls.
    """
    if not finished(store, record):
        return []
    from pipelines.evaluation.endings import score_endings

    ledgers = score_endings(loaded, store, record, progress)
    if loaded.recipe.export is not None:
        ledgers.append(_export(loaded.recipe.export, store, record, progress))
    return ledgers


def _export(
    settings: ExportAfter, store: Store, record: dict[str, Any], progress: Progress
) -> Ledger:
    """Write the run's own ending for other programs, unless it lies there already."""
    from pipelines.run.model_export import story_of
    from trainer.checkpoints.checkpoint import at_step
    from trainer.export.export import ExportSettings, export_model

    started, training = time.monotonic(), record["training"]
    key = content_key(
        {
            "folder": training["folder"],
            "step": training["steps"],
            "settings": settings.model_dump(mode="json"),
            "release": metadata.version("windtunnel"),
        }
    )
    progress.phase(EXPORT, 1, 0, 0)
    known = read_book(store, BOOK)
    made = known.get("key") != key or not _whole(store, known)
    if made:
        checkpoint = at_step(Store(store.full(training["folder"])), training["steps"])
        story = story_of(checkpoint)
        _make_room(store, known)
        beside = store.base if store.local else None
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=beside) as place:
            done = export_model(
                checkpoint, Path(place) / FOLDER, ExportSettings(settings.to, settings.dtype), story
            )
            # first, so that what a kill leaves half copied is known as the run's own
            store.write(BOOK, canonical_json(sealed({"sizes": dict.fromkeys(done.files, -1)})))
            for name in done.files:
                _copy(Path(done.folder) / name, store, f"{FOLDER}/{name}")
        facts = {**done.to_json(), "folder": FOLDER, "layout": settings.to}
        sizes = {name: store.size(f"{FOLDER}/{name}") for name in done.files}
        known = {"key": key, "sizes": sizes, "facts": facts}
        store.write(BOOK, canonical_json(sealed(known)) + b"\n")
    training[EXPORT] = known["facts"]
    progress.advance(1, 0)
    seconds = time.monotonic() - started if made else 0.0
    ledger = Ledger(EXPORT, units=1, computed=int(made), seconds=seconds)
    progress.end([ledger])
    return ledger


def _whole(store: Store, known: dict[str, Any]) -> bool:
    """Whether every file that was written still has its size."""
    sizes: dict[str, int] = known.get("sizes", {})
    return bool(sizes) and all(
        store.size(f"{FOLDER}/{name}") == size for name, size in sizes.items()
    )


def _make_room(store: Store, known: dict[str, Any]) -> None:
    """Remove the files of the export before; what others put beside them stays. Raises: UserError
    where files lie that no export of this run wrote.
    """
    sizes: dict[str, int] = known.get("sizes", {})
    if not sizes and (foreign := store.names(FOLDER)):
        raise UserError(
            "something lies where the export goes, and no run wrote it",
            file=store.full(FOLDER),
            found=foreign[0],
            fix="move it away, and run again: the training stays",
        )
    for name in sizes:
        store.delete(f"{FOLDER}/{name}")


def _copy(file: Path, store: Store, name: str) -> None:
    with file.open("rb") as content, store.writer(name) as target:
        shutil.copyfileobj(content, target)
