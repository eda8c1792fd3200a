"""Books: JSON objects that carry a checksum of themselves, so that damage to them shows.

    store.write("state.json", canonical_json(sealed(facts)))
    facts = unsealed(store.read("state.json"))        # DamageError where it is not what was sealed

What can be made again is absent where its book is damaged. Whoever makes it again says so, once,
to whoever listens:

    with told_of_damage(progress.note):
        ...
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import xxhash

from artifacts.fingerprints import canonical_json, load_json
from artifacts.paths import Store

CHECKSUM = "checksum"

Say = Callable[[str], None]

_LISTENER: ContextVar[Say | None] = ContextVar("listener to damage", default=None)


class DamageError(ValueError):
    """A book that does not hold what was written; the text says what was found."""


def sealed(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts, which JSON must have words for, with a checksum over their canonical JSON."""
    # over what a reader finds: names that are numbers come back as texts
    return {**facts, CHECKSUM: _checksum(load_json(canonical_json(facts)))}


def unsealed(raw: bytes, required: bool = True) -> dict[str, Any]:
    """The facts of a book. Raises: DamageError, as :func:`parse_object` and :func:`break_seal`."""
    return break_seal(parse_object(raw), required)


def parse_object(raw: bytes) -> dict[str, Any]:
    """A JSON object. Raises: DamageError when it is none."""
    if not raw:
        raise DamageError("an empty file")
    try:
        value = load_json(raw)
    except ValueError as error:
        raise DamageError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise DamageError(f"no JSON object, but {type(value).__name__}")
    return value


def break_seal(facts: dict[str, Any], required: bool = True) -> dict[str, Any]:
    """The facts without their checksum. One that is not there passes unless it is ``required``:
    older releases wrote books without. Raises: DamageError when it is not that of the facts.
    """
    rest = {name: value for name, value in facts.items() if name != CHECKSUM}
    stated = facts.get(CHECKSUM)
    if stated is None and not required:
        return rest
    try:
        found = _checksum(rest)
    except (ValueError, RecursionError):  # values that no book has
        raise DamageError("values that were not written") from None
    if stated != found:
        raise DamageError(f"checksum {stated}, its content has {found}")
    return rest


def read_book(store: Store, name: str) -> dict[str, Any]:
    """The facts of a book that can be made again, with a seal or of an older release; nothing
    where it is not there, or damaged, which is told.
    """
    try:
        return unsealed(store.read(name), required=False)
    except FileNotFoundError:
        return {}
    except DamageError as error:
        tell_damage(store.full(name), str(error))
        return {}


@contextlib.contextmanager
def told_of_damage(say: Say) -> Iterator[None]:
    """Have ``say`` called with a sentence for each damaged file that is made anew, once each."""
    told: set[str] = set()

    def once(text: str) -> None:
        if text not in told:
            told.add(text)
            say(text)

    token = _LISTENER.set(once)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def tell_damage(file: str, found: str) -> None:
    """Say that a file is damaged and is made anew, with what it belongs to."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(f"{file} is damaged: {found}; it is made anew")


def _checksum(facts: dict[str, Any]) -> str:
    return xxhash.xxh3_128_hexdigest(canonical_json(facts))
