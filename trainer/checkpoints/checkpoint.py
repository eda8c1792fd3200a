"""Checkpoints: a directory that appears whole or not at all, without pickle.

    RUN/checkpoints/step-00000100/
        weights.safetensors     one entry per parameter; a tied table once
        moments.safetensors     the optimizer's running means, ``mean.NAME`` and ``square.NAME``
        probes.safetensors      what probes go on with, ``PROBE/NAME``; only where some do
        plan.json               the plan the run follows
        tokenizer.model         so that the checkpoint can speak
        state.json              what it is, and the checksums of the files above; written last

On a local disk the files are written to a folder under a temporary name, flushed to disk, and the
folder is renamed; on an object store they are uploaded one by one, ``state.json`` last. A folder
without ``state.json`` does not exist. The state carries a checksum of itself. Step s means: s
updates were made.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xxhash
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from artifacts.books import DamageError, break_seal, parse_object
from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.paths import Store, disk_full
from trainer.checkpoints.paths import (
    EXAMPLE,
    FOLDER,
    RESTORE,
    STATE,
    STATES,
    folder_name,
    state_name,
    step_of,
)
from trainer.checkpoints.state import FORMAT, CheckpointState, FileRecord

WEIGHTS = "weights.safetensors"
MOMENTS = "moments.safetensors"
PROBES = "probes.safetensors"
PLAN = "plan.json"
TOKENIZER = "tokenizer.model"
_LARGEST_STATE = 64 << 20
_WRITING = ".writing-"

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint: where it is and what it says of itself."""

    store: Store
    name: str
    state: CheckpointState

    @property
    def folder(self) -> str:
        return self.store.full(self.name)

    def weights(self) -> Tensors:
        """The parameters by name. Raises: UserError when the file is missing or damaged."""
        return self._tensors(WEIGHTS)

    def moments(self) -> Tensors:
        """The optimizer's running means. Raises: UserError when the file is missing or damaged."""
        return self._tensors(MOMENTS)

    def probes(self) -> Tensors:
        """What the probes of the training go on with; nothing where none left anything. Raises:
        UserError when the file is missing or damaged.
        """
        return self._tensors(PROBES) if PROBES in self.state.files else {}

    @contextlib.contextmanager
    def open_weights(self) -> Iterator[Any]:
        """The parameters' file, open for ``keys()`` and ``get_tensor(name)``: a tensor at a time.
        Raises: UserError as :meth:`weights`.
        """
        with self._checked(WEIGHTS) as path:
            try:
                opened = safe_open(path, framework="pt")
            except SafetensorError as error:
                raise self._not_safetensors(WEIGHTS, error) from None
            with opened as file:
                yield file

    def check(self) -> None:
        """Read every file and compare its checksum. Raises: UserError when one is missing or
        damaged.
        """
        for file in (WEIGHTS, MOMENTS, *sorted(self.state.files.keys() - {WEIGHTS, MOMENTS})):
            with self._checked(file):
                pass

    def read(self, file: str) -> bytes:
        """One checked file. Raises: UserError when it is missing or damaged."""
        with self._checked(file) as path:
            return path.read_bytes()

    def _tensors(self, file: str) -> Tensors:
        with self._checked(file) as path:
            try:
                return load_file(path)
            except SafetensorError as error:
                raise self._not_safetensors(file, error) from None

    def _not_safetensors(self, file: str, error: SafetensorError) -> UserError:
        return _damaged(f"{self.folder}/{file}", f"not a safetensors file: {error}")

    @contextlib.contextmanager
    def _checked(self, file: str) -> Iterator[Path]:
        """A local path of a file whose checksum holds."""
        record = self.state.files.get(file)
        full = f"{self.folder}/{file}"
        if record is None or not self.store.exists(f"{self.name}/{file}"):
            raise _damaged(full, "the file is missing")
        with _local_copy(self.store, f"{self.name}/{file}") as path:
            found = file_record(path)
            if found != record:
                raise _damaged(
                    full,
                    f"{found.bytes} bytes with checksum {found.checksum}, written were "
                    f"{record.bytes} with {record.checksum}",
                )
            yield path


def save(
    store: Store,
    state: CheckpointState,
    weights: Mapping[str, torch.Tensor],
    moments: Mapping[str, torch.Tensor],
    files: Mapping[str, bytes],
    probes: Mapping[str, torch.Tensor] | None = None,
) -> Checkpoint:
    """Write a checkpoint whole; one of the same step is replaced.

    ``files`` are further files by name; ``probes`` what probes go on with, which has no file where
    there is nothing. Raises: UserError when the disk is full.
    """
    name = folder_name(state.step)
    tensors = {WEIGHTS: weights, MOMENTS: moments, **({PROBES: probes} if probes else {})}
    with _writing_folder(store) as folder:
        with _room(store.full(name)):
            for file, values in tensors.items():
                save_file(
                    {key: value.detach().contiguous().cpu() for key, value in values.items()},
                    folder / file,
                )
            for file, content in files.items():
                (folder / file).write_bytes(content)
            records = {path.name: file_record(path) for path in sorted(folder.iterdir())}
            whole = state.model_copy(update={"files": records})
            for file in records:
                flush(folder / file)
            (folder / STATE).write_bytes(whole.to_json())
            flush(folder / STATE)
        _publish(store, folder, name, [*records, STATE])
    return Checkpoint(store, name, whole)


def load(folder: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint in a folder. Raises: UserError when there is none, or it is foreign or
    damaged.
    """
    path = str(folder)
    path = path.rstrip("/") if "://" in path else os.path.abspath(path)
    parent, _, name = path.rpartition("/")
    return _read(Store(parent or "/"), name or ".")


def saved(store: Store) -> list[int]:
    """Steps of the checkpoints in a run, ascending; unfinished ones do not count."""
    return sorted(step for name in _state_names(store) if (step := step_of(name)) is not None)


def latest(store: Store | str | os.PathLike[str], at_most: int | None = None) -> Checkpoint | None:
    """The checkpoint with most steps (at most so many), None when the run has none.

    Raises: UserError when that one is foreign or damaged; an older one is never taken in silence.
    """
    place = store if isinstance(store, Store) else Store(store)
    steps = [step for step in saved(place) if at_most is None or step <= at_most]
    return _read(place, folder_name(steps[-1])) if steps else None


def at_step(store: Store | str | os.PathLike[str], step: int) -> Checkpoint:
    """The checkpoint of one step. Raises: UserError when there is none, naming those there are."""
    place = store if isinstance(store, Store) else Store(store)
    steps = saved(place)
    if step not in steps:
        raise UserError(
            "no checkpoint of this step",
            file=place.full(FOLDER),
            found=step,
            allowed=steps,
            fix="choose a step that was saved",
        )
    return _read(place, folder_name(step))


def clean(store: Store) -> None:
    """Remove what a kill left half written. Only the run's owner may call this."""
    if not store.local or not os.path.isdir(store.full(FOLDER)):
        return
    for entry in Path(store.full(FOLDER)).iterdir():
        if entry.name.startswith(_WRITING):
            shutil.rmtree(entry)


def drop_unasked(store: Store, below: int) -> None:
    """Remove checkpoints before a step that were written only because the run was stopped."""
    for step in saved(store):
        if step < below and not _read(store, folder_name(step)).state.asked:
            # first: without it the rest does not exist
            store.delete(state_name(step))
            store.delete(folder_name(step))


def file_record(path: Path) -> FileRecord:
    """Length and checksum of a local file."""
    digest = xxhash.xxh3_128()
    size = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            size += len(block)
    return FileRecord(bytes=size, checksum=digest.hexdigest())


def flush(path: Path) -> None:
    """Have the disk hold a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(store: Store, name: str) -> Checkpoint:
    file = f"{store.full(name)}/{STATE}"
    size = store.size(f"{name}/{STATE}")
    if size is None and store.exists(f"{name}/config.json"):
        raise UserError(
            "a model of another program has to be imported first",
            file=file,
            fix=(
                Command("import DIR -o imported", DIR=store.full(name)),
                ", and name what it says",
            ),
        )
    if size is None:
        raise UserError("no checkpoint here", file=file, fix=f"name a folder {EXAMPLE} of a run")
    if size > _LARGEST_STATE:
        raise _damaged(file, f"{size} bytes")
    try:
        facts = parse_object(store.read(f"{name}/{STATE}"))
    except DamageError as error:
        raise _damaged(file, str(error)) from None
    found = facts.get("format")
    if found != FORMAT:
        raise UserError(
            "not a checkpoint this release can read",
            file=file,
            field="format",
            found=found,
            allowed=[FORMAT],
            fix="read it with the release that wrote it",
        )
    try:
        return Checkpoint(store, name, CheckpointState.model_validate(break_seal(facts)))
    except DamageError as error:
        raise _damaged(file, str(error)) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _damaged(
            file, f"{'.'.join(str(place) for place in first['loc'])}: {first['msg']}"
        ) from None


def _state_names(store: Store) -> list[str]:
    # one look into the folder; listing every file of every checkpoint is the object stores' way
    if store.local:
        base = Path(store.base)
        return sorted(str(path.relative_to(base)) for path in base.glob(STATES))
    store.fs.invalidate_cache()
    return [name for name in store.names(FOLDER) if name.endswith(f"/{STATE}")]


def _damaged(file: str, found: str) -> UserError:
    return UserError(
        "the checkpoint is damaged",
        file=file,
        found=found,
        fix=RESTORE,
    )


@contextlib.contextmanager
def _writing_folder(store: Store) -> Iterator[Path]:
    """A local folder to fill; beside the checkpoints where those are local, so that it can be
    renamed.
    """
    parent = None
    if store.local:
        parent = store.full(FOLDER)
        os.makedirs(parent, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=_WRITING, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _room(target: str) -> Iterator[None]:
    """Turn a full disk into the error that says so."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise disk_full(target, 0) from error
        raise
    except SafetensorError as error:
        if "No space left" in str(error):
            raise disk_full(target, 0) from error
        raise


def _publish(store: Store, folder: Path, name: str, files: list[str]) -> None:
    target = store.full(name)
    if not store.local:
        for file in files:  # state.json is the last
            store.fs.put_file(str(folder / file), f"{target}/{file}")
        return
    flush(folder)
    folder.chmod(0o755)
    if os.path.exists(target):
        os.rename(target, folder.with_name(f"{folder.name}-replaced"))
    os.rename(folder, target)
    flush(Path(target).parent)
    shutil.rmtree(folder.with_name(f"{folder.name}-replaced"), ignore_errors=True)


@contextlib.contextmanager
def _local_copy(store: Store, name: str) -> Iterator[Path]:
    if store.local:
        yield Path(store.full(name))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copy"
        store.fs.get_file(store.full(name), str(path))
        yield path
