"""A tokenizer as a folder that Hugging Face's libraries read, and what differs on given files.

done = export_tokenizer("quickstart", "exported", check=["held-out/*.jsonl"])
print(done.files, done.check.sound)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from artifacts.commands import Command
from artifacts.errors import Address, Parameter, Place, UserError
from artifacts.extras import require
from artifacts.paths import Store
from pipelines.readers import InputFile
from pipelines.readers.texts import text_files, texts_of
from pipelines.run.record import load_run
from pipelines.shards.tokenizer import recorded_model
from pipelines.writers.whole_folder import check_folder, write_folder
from tokenizer.encode import Tokenizer
from tokenizer.huggingface.compare import Comparison, check_comparable, compare
from tokenizer.huggingface.files import OTHERS, TEMPLATE, huggingface_files
from trainer.checkpoints.paths import STATE

MODEL_SUFFIX = ".model"


@dataclass(frozen=True)
class ExportedTokenizer:
    """What was written. ``files``: full names. ``chat``: whether a template is among them.
    ``check``: what differs, None where nothing was compared; ``unreadable``: records and lines of
    the files to check that are no text.
    """

    files: tuple[str, ...]
    hash: str
    vocab_size: int
    chat: bool
    check: Comparison | None = None
    unreadable: int = 0

    @property
    def sound(self) -> bool:
        """Whether nothing was found that should not be."""
        return self.check is None or self.check.sound

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        check = None
        if self.check is not None:
            check = {**self.check.to_json(), "unreadable": self.unreadable}
        return {**vars(self), "files": list(self.files), "check": check}


def export_tokenizer(
    target: str,
    output: str,
    *,
    runs: str = "runs",
    check: Sequence[str] = (),
    text_field: str = "text",
) -> ExportedTokenizer:
    """Write the files of a tokenizer into a folder, all or none, and compare ids over given files.

    ``target``: a ``.model`` file, the folder of a checkpoint, or a run by name under ``runs`` or by
    folder. ``output``: a folder that is not there, is empty or holds an earlier export; or a
    store's URL. ``check``: files or globs, records that readers know (``text_field`` of each) or
    lines. Raises: UserError before anything is written.
    """
    if check:
        require("export", parameter="check")
    try:
        to_check = text_files(check, text_field)
    except UserError as error:
        raise error.relocated(lambda address: _of_check(address, text_field)) from None
    check_folder(output, OTHERS)
    tokenizer, name = tokenizer_of(target, runs)
    try:
        files = huggingface_files(tokenizer)
    except UserError as error:
        raise error.relocated(lambda address: Place(address, file=name)) from None
    if to_check:
        check_comparable(files)
    written = write_folder(output, files, OTHERS)
    done = ExportedTokenizer(
        tuple(written), tokenizer.hash, tokenizer.vocab_size, chat=TEMPLATE in files
    )
    if not to_check:
        return done
    texts = _Texts(to_check, text_field)
    comparison = compare(tokenizer, texts, files=files)
    return ExportedTokenizer(
        done.files, done.hash, done.vocab_size, done.chat, comparison, texts.unreadable
    )


def tokenizer_of(target: str, runs: str) -> tuple[Tokenizer, str]:
    """The tokenizer of a model file, a checkpoint or a run, and the name of the file or folder.

    Raises: UserError where there is none, or it is damaged.
    """
    if os.path.isfile(target) or target.endswith(MODEL_SUFFIX):
        return Tokenizer.load(_model_file(target)), target
    if Store(target).exists(STATE):
        from trainer.checkpoints.checkpoint import TOKENIZER, load  # needs torch

        checkpoint = load(target)
        return Tokenizer.load(checkpoint.read(TOKENIZER)), checkpoint.folder
    store, record = load_run(runs, target)
    if not record["tokenizer"]:
        raise UserError(
            "this run has no tokenizer yet",
            file=store.root,
            found=f"reached {record['reached']}",
            fix=(Command("run RECIPE"), " makes one, where the recipe has a tokenizer"),
        )
    return Tokenizer.load(recorded_model(store, record)), store.root


def _model_file(target: str) -> str | bytes:
    """A local path as it is; of a store the bytes."""
    if "://" not in target:
        return target
    folder, _, name = target.rpartition("/")
    try:
        return Store(folder).read(name)
    except FileNotFoundError:
        raise UserError(
            "cannot read the tokenizer model",
            file=target,
            found="no such file",
            fix="check the path",
        ) from None


def _of_check(address: Address, text_field: str) -> Address:
    """Where the user gave what an error about files to check speaks of."""
    of_field = address in ((text_field,), ("text_field",))
    return (Parameter("text_field" if of_field else "check"),)


class _Texts:
    """The texts of some files, file after file; counts what of them is no text."""

    def __init__(self, files: Sequence[InputFile], text_field: str) -> None:
        self.unreadable = 0
        self._files = files
        self._field = text_field

    def __iter__(self) -> Iterator[pa.LargeStringArray]:
        for file in self._files:
            for batch in texts_of(file, self._field):
                self.unreadable += batch.unreadable
                yield batch.texts
