"""Two folders held against each other: the same relative paths, the same bytes.

Of a JSON file with fields that are left out, everything else is compared: values as they are
spelled and, unless the table says otherwise, the order of names and the spacing.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .left_out import BY_NATURE, Leaving

BLOCK = 1 << 20
ONLY_IN = "only in the"
_SCALAR = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null')
_LEFT_OUT = "(left out)"
_SHOWN = 60  # characters of a value


@dataclass(frozen=True)
class Difference:
    """A file that is not the same, and in what."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"

    def rank(self) -> tuple[bool, bool]:
        """Lowest where the cause may be: data under the same path, before the JSON that counts it
        and all that lies elsewhere.
        """
        return self.what.startswith(ONLY_IN), self.path.endswith(".json")


@dataclass
class Compared:
    """What a comparison of two folders looked at, and what it found."""

    files: int = 0
    bytes: int = 0
    differences: list[Difference] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)  # reason -> files
    fields_left_out: Counter[str] = field(default_factory=Counter)  # reason -> files with fields

    def add(self, other: Compared) -> None:
        self.files += other.files
        self.bytes += other.bytes
        self.differences += other.differences
        self.left_out += other.left_out
        self.fields_left_out += other.fields_left_out


def compare_trees(old: Path, new: Path, leavings: Sequence[Leaving] = BY_NATURE) -> Compared:
    """Hold every file of two folders against the one of the same relative path."""
    compared = Compared()
    old_paths, new_paths = set(paths_in(old)), set(paths_in(new))
    for path in sorted(old_paths | new_paths):
        named = [leaving for leaving in leavings if leaving.names(path)]
        whole = [leaving.reason for leaving in named if not leaving.fields]
        if whole:
            compared.left_out[whole[0]] += 1
            continue
        compared.files += 1
        if path not in new_paths or path not in old_paths:
            side = "old" if path in old_paths else "new"
            compared.differences.append(Difference(path, f"{ONLY_IN} {side} folder"))
            continue
        compared.bytes += (old / path).stat().st_size
        compared.fields_left_out.update({leaving.reason for leaving in named})
        what = different(old / path, new / path, named)
        if what is not None:
            compared.differences.append(Difference(path, what))
    return compared


def paths_in(folder: Path) -> Iterator[str]:
    """Relative paths of all files below a folder. Raises: FileNotFoundError when there is none."""
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    for path in folder.rglob("*"):
        if not path.is_dir() or path.is_symlink():
            yield path.relative_to(folder).as_posix()


def different(old: Path, new: Path, leavings: Sequence[Leaving] = ()) -> str | None:
    """In what two files differ, None where they do not; the fields that ``leavings`` name in a JSON
    file do not count.
    """
    place = first_difference(old, new)
    if place is None or not leavings:
        return place
    fields = [name for leaving in leavings for name in leaving.fields]
    old_raw, new_raw = old.read_bytes(), new.read_bytes()
    try:
        values = [_without(_parsed(raw), fields) for raw in (old_raw, new_raw)]
    except ValueError:
        return f"{place}; not JSON"
    found = next(differing_fields(*values), None)
    if found is not None:
        return f"field {found}"
    if any(leaving.values_alone for leaving in leavings):
        return None
    layouts = {_SCALAR.sub(b"0", raw) for raw in (old_raw, new_raw)}
    orders = {_dumped(value) for value in values}
    return None if len(layouts) == len(orders) == 1 else "the same values, laid out otherwise"


def first_difference(old: Path, new: Path) -> str | None:
    """The first byte in which two files differ, in words; None where they are equal."""
    sizes = old.stat().st_size, new.stat().st_size
    offset = 0
    with old.open("rb") as old_file, new.open("rb") as new_file:
        while True:
            blocks = old_file.read(BLOCK), new_file.read(BLOCK)
            if blocks[0] != blocks[1]:
                pairs = enumerate(zip(*blocks, strict=False))
                place = next((at for at, (a, b) in pairs if a != b), min(map(len, blocks)))
                return f"byte {offset + place:,} of {sizes[0]:,}" + (
                    "" if sizes[0] == sizes[1] else f" ({sizes[1]:,} in the new file)"
                )
            if not blocks[0]:
                return None
            offset += BLOCK


def differing_fields(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """Dotted names of JSON values that differ, each with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{name}.{key}" if name else key
            if key not in old or key not in new:
                yield f"{inner}: only in the {'old' if key in old else 'new'} one"
            else:
                yield from differing_fields(old[key], new[key], inner)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, pair in enumerate(zip(old, new, strict=True)):
            yield from differing_fields(*pair, f"{name}.{place}" if name else str(place))
    elif old != new:
        yield f"{name}: {_shown(old)} -> {_shown(new)}"


@dataclass(frozen=True)
class _Number:
    spelling: str


def _parsed(raw: bytes) -> Any:
    return json.loads(raw, parse_float=_Number, parse_int=_Number)


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=lambda number: number.spelling)


def _shown(value: Any) -> str:
    text = value.spelling if isinstance(value, _Number) else _dumped(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _without(value: Any, fields: Iterable[str]) -> Any:
    for name in fields:
        _leave_out(value, name.split("."))
    return value


def _leave_out(value: Any, names: list[str]) -> None:
    """Replace the values under a dotted name where it is there."""
    first, *rest = names
    if isinstance(value, list):
        places: Iterable[Any] = range(len(value)) if first == "*" else ()
    elif isinstance(value, dict):
        places = list(value) if first == "*" else [first] if first in value else []
    else:
        return
    for place in places:
        if rest:
            _leave_out(value[place], rest)
        else:
            value[place] = _LEFT_OUT
