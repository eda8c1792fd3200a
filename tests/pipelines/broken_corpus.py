"""A corpus with broken records planted between its good ones, each with the place and reason it
must be found at.

:func:`break_corpus` copies ``*.jsonl.zst`` files and never changes a good record, so a reader is
right if its quarantine equals the returned list and its documents equal those of the untouched
corpus.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

COUNT = 500


class Planted(NamedTuple):
    """A broken record: its file relative to the target folder, its byte offset in the uncompressed
    stream, its reason.
    """

    path: str
    offset: int
    reason: str


class Soil(NamedTuple):
    """What a planter may use: a good record read before, a fresh id, the random generator, the
    length limit.
    """

    record: dict[str, Any]
    fresh_id: str
    generator: random.Random
    record_bytes: int | None


Planter = Callable[[Soil], bytes]


def break_corpus(
    source_folder: Path,
    target_folder: Path,
    seed: int,
    *,
    count: int = COUNT,
    record_bytes: int | None = None,
) -> list[Planted]:
    """Copy every ``*.jsonl.zst`` under a folder and plant ``count`` broken records between the good
    ones.

    The result depends on the files and the seed alone. Records need an ``id`` and either ``text``
    or ``messages``. A ``duplicate_key`` repeats the id of a record that comes earlier in the order
    of (path, offset), in the same file or in one before it. Lines beyond ``record_bytes`` are
    planted only when it is given; read the copy with that limit.

    Returns: the planted records in the order of (path, offset). Raises: ValueError when there is no
    place between two records, or a good record exceeds ``record_bytes``.
    """
    generator = random.Random(seed)
    files = sorted(
        source_folder.rglob("*.jsonl.zst"),
        key=lambda file: file.relative_to(source_folder).as_posix().encode(),
    )
    gaps = [(file, row) for file in files for row in range(1, sum(1 for _ in _lines(file)))]
    if not gaps:
        raise ValueError(f"{source_folder}: no jsonl.zst file with two records")
    places = (
        generator.sample(gaps, count) if len(gaps) >= count else generator.choices(gaps, k=count)
    )
    planted: list[Planted] = []
    originals: dict[bool, list[dict[str, Any]]] = {False: [], True: []}  # texts, conversations
    conversation = False  # what the last good record was
    kinds = _kinds(count, generator)
    for file in files:
        path = file.relative_to(source_folder).as_posix()
        rows = sorted(row for chosen, row in places if chosen == file)
        stream = bytearray()
        for row, line in enumerate(_lines(file)):
            while rows and rows[0] == row:
                rows.pop(0)
                soil = Soil(
                    generator.choice(originals[conversation]),
                    f"broken:{len(planted)}",
                    generator,
                    record_bytes,
                )
                reason, broken = _plant(next(kinds), soil)
                planted.append(Planted(path, len(stream), reason))
                stream += broken + b"\n"
            if record_bytes is not None and len(line.rstrip(b"\n")) > record_bytes:
                raise ValueError(
                    f"{path}: a good record of {len(line)} bytes exceeds the limit of {record_bytes}"
                )
            record = json.loads(line)
            conversation = "messages" in record
            originals[conversation].append(record)
            stream += line
        target = target_folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(
            zstandard.ZstdCompressor(level=3, write_checksum=True).compress(bytes(stream))
        )
    return planted


def _lines(file: Path) -> Iterator[bytes]:
    with zstandard.open(file, "rb") as stream:
        yield from io.BufferedReader(stream)


def _kinds(count: int, generator: random.Random) -> Iterator[int]:
    """Numbers that name the kinds of damage: every kind equally often, in a random order."""
    kinds = list(range(count))
    generator.shuffle(kinds)
    return iter(kinds)


def _plant(kind: int, soil: Soil) -> tuple[str, bytes]:
    planters = [*_PLANTERS, *(_CONVERSATIONS if "messages" in soil.record else _TEXTS)]
    if soil.record_bytes is not None:
        planters.append(("line_too_long", _too_long))
    reason, planter = planters[kind % len(planters)]
    return reason, planter(soil)


def _encoded(record: object) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode()


def _renamed(soil: Soil, **changes: object) -> dict[str, Any]:
    return {**soil.record, "id": soil.fresh_id, **changes}


def _without(soil: Soil, field: str) -> bytes:
    return _encoded({key: value for key, value in _renamed(soil).items() if key != field})


def _marked(soil: Soil, mark: bytes) -> bytes:
    """A good record whose ``note`` holds raw bytes that no JSON encoder would write."""
    return _encoded(_renamed(soil, note="MARK")).replace(
        b'"note": "MARK"', b'"note": "' + mark + b'"'
    )


def _cut_short(soil: Soil) -> bytes:
    text = _encoded(_renamed(soil)).decode()
    return text[: soil.generator.randrange(1, len(text))].encode()


def _cut_inside_a_character(soil: Soil) -> bytes:
    return b'{"id": "' + soil.fresh_id.encode() + '", "text": "一'.encode()[:-1]


def _other_text(soil: Soil) -> bytes:
    field = "messages" if "messages" in soil.record else "text"
    changed = (
        [{"role": "user", "content": "Another question."}]
        if field == "messages"
        else "Another text under an id that is taken."
    )
    return _encoded({**soil.record, field: changed})


def _too_long(soil: Soil) -> bytes:
    return _encoded(
        _renamed(soil, note="x" * ((soil.record_bytes or 0) + soil.generator.randrange(1, 1000)))
    )


_PLANTERS: list[tuple[str, Planter]] = [
    ("invalid_json", _cut_short),
    ("invalid_json", lambda soil: b"<html><body>502 Bad Gateway</body></html>"),
    ("invalid_json", lambda soil: _encoded(_renamed(soil))[:-1] + b",}"),
    ("invalid_json", lambda soil: _encoded(_renamed(soil)) + _encoded(_renamed(soil))),
    ("invalid_json", lambda soil: _marked(soil, b"a raw \x00 and a raw \t control character")),
    ("invalid_json", lambda soil: repr(_renamed(soil, note="single quotes")).encode()),
    ("invalid_utf8", lambda soil: _marked(soil, b"Latin-1: caf\xe9")),
    ("invalid_utf8", lambda soil: _marked(soil, b"overlong: \xc0\xaf")),
    ("invalid_utf8", lambda soil: _marked(soil, b"raw surrogate: \xed\xa0\x80")),
    ("invalid_utf8", lambda soil: _marked(soil, "GB 18030: 中文".encode("gb18030"))),
    ("invalid_utf8", _cut_inside_a_character),
    ("lone_surrogate", lambda soil: _marked(soil, rb"\ud800")),
    ("lone_surrogate", lambda soil: _marked(soil, rb"the wrong way round: \udc00\ud800")),
    ("not_an_object", lambda soil: _encoded([_renamed(soil)])),
    ("not_an_object", lambda soil: _encoded("a string on a line of its own")),
    ("not_an_object", lambda soil: b"null"),
    ("not_an_object", lambda soil: b"3.25"),
    ("bad_id", lambda soil: _without(soil, "id")),
    ("bad_id", lambda soil: _encoded(_renamed(soil, id=None))),
    ("bad_id", lambda soil: _encoded(_renamed(soil, id=""))),
    ("bad_id", lambda soil: _encoded(_renamed(soil, id=1.5))),
    ("bad_id", lambda soil: _encoded(_renamed(soil, id=[soil.fresh_id]))),
    ("duplicate_key", lambda soil: _encoded(soil.record)),
    ("duplicate_key", _other_text),
]

_TEXTS: list[tuple[str, Planter]] = [
    ("no_text", lambda soil: _without(soil, "text")),
    ("no_text", lambda soil: _encoded(_renamed(soil, text=""))),
    ("no_text", lambda soil: _encoded(_renamed(soil, text=None))),
    ("no_text", lambda soil: _encoded(_renamed(soil, text=["a", "list"]))),
    ("no_text", lambda soil: _encoded(_renamed(soil, text=17))),
]

_CONVERSATIONS: list[tuple[str, Planter]] = [
    ("bad_messages", lambda soil: _without(soil, "messages")),
    ("bad_messages", lambda soil: _encoded(_renamed(soil, messages=[]))),
    ("bad_messages", lambda soil: _encoded(_renamed(soil, messages="a string"))),
    ("bad_messages", lambda soil: _encoded(_renamed(soil, messages=["not an object"]))),
    (
        "bad_messages",
        lambda soil: _encoded(_renamed(soil, messages=[{"role": "user", "content": 4}])),
    ),
]
