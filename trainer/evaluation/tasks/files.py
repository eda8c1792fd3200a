"""Files of benchmarks as rows of plain values.

    for row in rows_of("hellaswag_val.jsonl"):
        row.line, row.values["ctx_a"]

Read are JSON Lines, JSON (a list of records, or an object with a list ``examples``) and CSV with or
without a first line of names, each also compressed by gzip or zstd. A file is read whole, within
:data:`LARGEST`. Whatever is not as it should be is an error with its line; no record is skipped.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

import zstandard

from artifacts.errors import Address, UserError
from artifacts.paths import Store
from trainer.evaluation.tasks.rows import RESTORE, Row

LARGEST = 256 << 20
"""Bytes of a file, once decompressed. The largest benchmark read here has a tenth of it."""

WITHOUT_NAMES = ("question", "A", "B", "C", "D", "answer")
"""Columns of a CSV file whose first line is a record, as MMLU's are."""

_NAMES = ({"question", "A"}, {"Question", "A"}, {"question", "choices"})
_WINDOW = 128 << 20  # bytes; what zstd -d allows by default
_FED = 1024  # bytes of a zstd file that are decompressed at once: some MiB at most come out


class _TwiceError(ValueError):
    """An object has a key twice: readers differ in which of both they take."""


def rows_of(path: str | Path) -> Iterator[Row]:
    """The rows of a file, in order.

    Raises: UserError for one that is not there, too large, damaged, not UTF-8, or of which a line
    is broken.
    """
    file = str(path)
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    packed = suffixes.pop() if suffixes and suffixes[-1] in (".gz", ".zst", ".zstd") else ""
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in (".jsonl", ".ndjson", ".json", ".csv"):
        raise UserError(
            "the suffix does not tell how the file is written",
            file=file,
            found=suffix or "none",
            allowed=[".jsonl", ".json", ".csv", "each also with .gz or .zst"],
            fix="name a file of one of these, or rename it",
        )
    text = _text(_bytes(path, packed), file)
    return _csv(text, file) if suffix == ".csv" else _json(text, file, suffix)


def _bytes(path: str | Path, packed: str) -> bytes:
    try:
        with _opened(str(path)) as opened:
            if packed == ".gz":
                raw = gzip.GzipFile(fileobj=opened).read(LARGEST + 1)
            elif packed:
                raw = _unpacked(opened)
            else:
                raw = opened.read(LARGEST + 1)
    except FileNotFoundError:
        raise UserError("no such file", file=path, fix="check the path") from None
    except (zlib.error, zstandard.ZstdError, EOFError, gzip.BadGzipFile) as error:
        raise UserError("the file is damaged", file=path, found=str(error), fix=RESTORE) from None
    except OSError as error:
        raise UserError(
            "cannot read the file", file=path, found=error.strerror, fix="check the path"
        ) from None
    if len(raw) > LARGEST:
        raise UserError(
            "the file is too large for a benchmark",
            file=path,
            found=f"more than {LARGEST:,} bytes",
            allowed=[f"up to {LARGEST:,} bytes"],
            fix="cut it into several files",
        )
    return raw


def _opened(path: str) -> IO[bytes]:
    """A file, local or of a store."""
    if "://" not in path:
        return open(path, "rb")
    folder, _, name = path.rpartition("/")
    return Store(folder).open(name)


def _unpacked(opened: IO[bytes]) -> bytes:
    """The frames of a zstd file, up to a byte more than :data:`LARGEST`."""
    context = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    frame, parts, size, fed = context.decompressobj(), [], 0, b""
    begun = False
    while size <= LARGEST and (fed := fed or opened.read(_FED)):
        begun = True
        parts.append(frame.decompress(fed))
        size += len(parts[-1])
        fed = b""
        if frame.eof:
            fed, frame, begun = frame.unused_data, context.decompressobj(), False
    if begun and size <= LARGEST:
        raise EOFError("it ends inside a frame")
    return b"".join(parts)[: LARGEST + 1]


def _text(raw: bytes, file: str) -> str:
    """UTF-8, without the mark that some programs put before it."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            "not UTF-8",
            file=file,
            line=raw.count(b"\n", 0, error.start) + 1,
            found=f"the byte 0x{raw[error.start]:02x}",
            fix="save the file in UTF-8",
        ) from None


def _json(text: str, file: str, suffix: str) -> Iterator[Row]:
    """Lines with a record each, or one JSON value with all of them."""
    lines = [(line, one) for line, one in enumerate(text.split("\n"), 1) if one.strip()]
    if len(lines) == 1:
        line, one = lines[0]
        value = _parsed(one, file, line)
        if isinstance(value, list) or (isinstance(value, dict) and "examples" in value):
            yield from _entries(value, file)
            return
    elif suffix == ".json" and lines and not _is_json(lines[0][1]):
        yield from _entries(_parsed(text, file, None), file)
        return
    for number, (line, one) in enumerate(lines):
        values = _parsed(one, file, line)
        if not isinstance(values, dict):
            raise _no_object(file, line, values)
        yield Row(file, line, number, values)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _entries(values: Any, file: str) -> Iterator[Row]:
    field: Address = ()
    listed = values
    if isinstance(values, dict):
        listed, field = values.get("examples", [values]), ("examples",)
    if not isinstance(listed, list):
        raise UserError(
            "a list of records belongs here",
            file=file,
            field="examples",
            found=type(listed).__name__,
            fix=RESTORE,
        )
    for number, entry in enumerate(listed):
        if not isinstance(entry, dict):
            raise _no_object(file, None, entry, (*field, number))
        yield Row(file, None, number, entry, (*field, number))


def _no_object(file: str, line: int | None, value: object, field: Address = ()) -> UserError:
    return UserError(
        "a record is a JSON object",
        file=file,
        line=line,
        field=field or None,
        found=type(value).__name__,
        fix=RESTORE,
    )


def _parsed(text: str, file: str, line: int | None) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise UserError(
            "not JSON",
            file=file,
            line=line or error.lineno,
            found=f"{error.msg}, at character {error.colno}",
            fix=RESTORE,
        ) from None
    except _TwiceError as error:
        raise UserError(
            "a key stands twice in one object, so what it says is not clear",
            file=file,
            line=line,
            field=(str(error),),
            fix="remove one of both",
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError("not JSON", file=file, line=line, found=str(error), fix=RESTORE) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise _TwiceError(name)
        values[name] = value
    return values


def _no_number(spelling: str) -> NoReturn:
    raise ValueError(f"{spelling} is no JSON value")


def _csv(text: str, file: str) -> Iterator[Row]:
    csv.field_size_limit(LARGEST)  # of a file no larger than that
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] | None = None
    number, line = 0, 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UserError(
                "not CSV", file=file, line=line, found=str(error), fix=RESTORE
            ) from None
        if cells is None:
            return
        begun, line = line, reader.line_num + 1
        if names is None:
            headed = any(known <= set(cells) for known in _NAMES)
            names = _checked(cells, file) if headed else list(WITHOUT_NAMES)
            if headed:
                continue
        if not cells:  # an empty line
            continue
        if len(cells) != len(names):
            raise UserError(
                "the record has another number of columns",
                file=file,
                line=begun,
                found=f"{len(cells)} columns",
                allowed=[f"{len(names)}: {', '.join(names)}"],
                fix="quote cells that hold commas or quotes, or restore the file",
            )
        values = {name: cell for name, cell in zip(names, cells, strict=True) if name}
        yield Row(file, begun, number, values)
        number += 1


def _checked(names: list[str], file: str) -> list[str]:
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            "two columns have one name", file=file, line=1, field=(twice,), fix="remove one of both"
        )
    return names
