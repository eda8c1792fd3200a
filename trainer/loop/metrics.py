"""What a run measures, a line of JSON per step, each step once whatever was killed and resumed.

    metrics/train.jsonl         step, tokens, loss, lr, grad_norm, per source
    metrics/validation.jsonl    step, per held-out source
    metrics/data.jsonl          step, tokens, per source of the plan what was shown so far: tokens
                                (padding included), epochs
    metrics/time.jsonl          step, seconds, tokens per second, peak memory of the process: the
                                one that differs from run to run
    metrics/probe-NAME.jsonl    what a probe of that name measured (:mod:`trainer.probes`)

The same goes to TensorBoard (:mod:`trainer.loop.board`), in ``metrics/tensorboard/`` or where a
caller says.

``step`` counts from 1. Losses are nats per token and bits per byte, null without a target. A
resumed run first cuts every file back to the step of its checkpoint; before a checkpoint is written
the lines up to it are on disk. So the files but ``time.jsonl`` of a run that was stopped a hundred
times are byte for byte those of one that was not.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import IO, Any

import numpy as np

from artifacts.errors import UserError
from artifacts.fingerprints import load_json
from artifacts.paths import Store
from trainer.loop.board import Board

FOLDER = "metrics"
TRAIN = "train"
VALIDATION = "validation"
DATA = "data"
TIME = "time"
SERIES = (TRAIN, VALIDATION, DATA, TIME)
PROBE = "probe-"


class JsonLines:
    """One append-only file of lines with a ``step``. Local files grow line by line; objects are
    rewritten by :meth:`flush`.
    """

    def __init__(self, store: Store, name: str, step: int) -> None:
        """Open the file and cut it back to lines of at most ``step``."""
        self.store, self.name = store, name
        raw = whole_lines(store, name)
        content = b"".join(
            line + b"\n"
            for line in raw.splitlines()
            if parse_line(line, store, name)["step"] <= step
        )
        if store.size(name) not in (None, len(content)):
            store.write(name, content)
        self._unsent: list[bytes] = []
        self._before = b"" if store.local else content
        self._file: IO[bytes] | None = None

    def append(self, line: Mapping[str, Any]) -> None:
        """Add one line."""
        raw = encode_line(line)
        if not self.store.local:
            self._unsent.append(raw)
            return
        if self._file is None:
            path = self.store.full(self.name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self._file = open(path, "ab")  # noqa: SIM115 - closed by close()
        self._file.write(raw)
        self._file.flush()

    def flush(self) -> None:
        """Have the disk, or the object store, hold every line so far."""
        if self._file is not None:
            os.fsync(self._file.fileno())
        if self._unsent:
            self._before += b"".join(self._unsent)
            self._unsent.clear()
            self.store.write(self.name, self._before)

    def close(self) -> None:
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None


class Metrics:
    """The series of a run and its TensorBoard events. Use as a context manager."""

    def __init__(
        self,
        store: Store,
        step: int,
        board: Board | None = None,
        probes: Iterable[str] = (),
    ) -> None:
        """``step``: updates made before; later lines are removed. ``board``: is filled with what is
        left of them where it is empty. ``probes``: by name, each has a series of its own.
        """
        self.lines = {
            series: JsonLines(store, f"{FOLDER}/{series}.jsonl", step)
            for series in (*SERIES, *map(probe_series, probes))
        }
        self._board = board
        if board is not None and board.empty:
            for series in self.lines:
                for line in read_series(store, series):
                    board.record(series, line["step"], flat(line))

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def record(self, series: str, line: Mapping[str, Any]) -> None:
        """Add a line to a series and its numbers to TensorBoard."""
        self.lines[series].append(line)
        if self._board is not None:
            self._board.record(series, line["step"], flat(line))

    def flush(self) -> None:
        for lines in self.lines.values():
            lines.flush()
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        for lines in self.lines.values():
            lines.close()
        if self._board is not None:
            self._board.close()


def probe_series(name: str) -> str:
    """The series of a probe."""
    return f"{PROBE}{name}"


def whole_lines(store: Store, name: str) -> bytes:
    """The bytes of a file up to its last line end; empty where there is no file."""
    try:
        raw = store.read(name)
    except FileNotFoundError:
        return b""
    return raw[: raw.rfind(b"\n") + 1]


def parse_line(raw: bytes, store: Store, name: str) -> dict[str, Any]:
    """One line. Raises: UserError when it is not JSON or names no step."""
    try:
        line = load_json(raw)
    except ValueError:
        line = None
    if not isinstance(line, dict) or not isinstance(line.get("step"), int):
        raise damaged_line(store, name, raw[:80].decode("utf-8", "replace"))
    return line


def damaged_line(store: Store, name: str, found: object) -> UserError:
    """The error of a line that a training did not write."""
    return UserError(
        "a line of the metrics is damaged",
        file=store.full(name),
        found=found,
        fix="restore the file, or move it away to go on without the past",
    )


def read_series(store: Store | str | os.PathLike[str], series: str = TRAIN) -> list[dict[str, Any]]:
    """A series of a run, in order of steps."""
    place = store if isinstance(store, Store) else Store(store)
    name = f"{FOLDER}/{series}.jsonl"
    return [parse_line(raw, place, name) for raw in whole_lines(place, name).splitlines()]


def encode_line(line: Mapping[str, Any]) -> bytes:
    """One line of JSON; numbers keep every bit, those that are not finite become null. Raises:
    UserError when a value is none that JSON has.
    """
    return (
        json.dumps(
            {key: _plain(value, key) for key, value in line.items()},
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        ).encode()
        + b"\n"
    )


def flat(line: Mapping[str, Any], above: str = "") -> list[tuple[str, float]]:
    """The finite numbers of a line with slash-separated names, the step left out."""
    found: list[tuple[str, float]] = []
    for key, value in line.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{above}{key}/")
        elif (above or key != "step") and isinstance(value, int | float) and math.isfinite(value):
            found.append((f"{above}{key}", float(value)))
    return found


def _plain(value: Any, name: str) -> Any:
    """A value as JSON has it; ``name`` is what errors call it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, f"{name}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, name) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise UserError(
        "a figure is no value that JSON has",
        field=name,
        found=type(value).__name__,
        fix="give numbers, texts, lists and dicts",
    )
