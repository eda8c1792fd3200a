"""Values that pass between a program and its tests: plain data, whoever wrote the bytes.

A value becomes nested lists of JSON, a tag first, so that what a program sends can name no class
and run nothing. Numbers, texts, bytes, lists, tuples, sets, dictionaries (Counter and the like as
their base), deques, decimals and fractions arrive equal; an iterator arrives as one over the
same entries; an object of a class that both sides define arrives with its attributes. Runs within
a program's process: nothing but the standard library is there.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any


class NotPlainError(TypeError):
    """A value that cannot pass."""


_ENTRIES: dict[str, tuple[type[Iterable[Any]], Callable[[list[Any]], Any]]] = {
    "list": (list, list),
    "tuple": (tuple, tuple),
    "set": (set, set),
    "frozenset": (frozenset, frozenset),
    "deque": (deque, deque),
    "iterator": (Iterator, iter),
}
_TEXTS: dict[str, tuple[type, Callable[[str], Any], Callable[[Any], str]]] = {
    "float": (float, float, float.__repr__),
    "complex": (complex, complex, complex.__repr__),
    "bytes": (bytes, bytes.fromhex, bytes.hex),
    "bytearray": (bytearray, bytearray.fromhex, bytearray.hex),
    "decimal": (Decimal, Decimal, Decimal.__str__),
    "fraction": (Fraction, Fraction, Fraction.__str__),
}


def dumped(value: Any) -> bytes:
    """The bytes of a value. Raises: NotPlainError, and RecursionError for one nested too deep."""
    return json.dumps(_packed(value)).encode()


def loaded(raw: bytes, classes: Mapping[str, Any]) -> Any:
    """The value of bytes that :func:`dumped` wrote, here or elsewhere. ``classes``: where those of
    objects are found. Raises: ValueError, TypeError, RecursionError for other bytes.
    """
    return _unpacked(json.loads(raw), classes)


def _packed(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return ["int", hex(value)]
    if isinstance(value, str):
        return ["str", str.__str__(value)]
    if isinstance(value, dict):
        return ["dict", [[_packed(key), _packed(entry)] for key, entry in dict.items(value)]]
    for tag, (kind, _, written) in _TEXTS.items():
        if isinstance(value, kind):
            return [tag, written(value)]
    for tag, (kind, _) in _ENTRIES.items():
        if isinstance(value, kind):
            return [tag, [_packed(entry) for entry in value]]
    kind = type(value)
    if kind.__module__ == "__main__" and hasattr(value, "__dict__") and kind is not type:
        return ["object", kind.__name__, _packed(dict(vars(value)))]
    raise NotPlainError(f"a value of type {kind.__name__} does not pass to the tests")


def _unpacked(packed: Any, classes: Mapping[str, Any]) -> Any:
    if packed is None or isinstance(packed, bool):
        return packed
    tag, content, *more = packed
    if tag == "int":
        return int(content, 16)
    if tag == "str":
        return str(content)
    if tag == "dict":
        return {_unpacked(key, classes): _unpacked(value, classes) for key, value in content}
    if tag in _TEXTS:
        return _TEXTS[tag][1](content)
    if tag in _ENTRIES:
        return _ENTRIES[tag][1]([_unpacked(entry, classes) for entry in content])
    kind = classes.get(content)
    if tag != "object" or not isinstance(kind, type) or kind.__module__ != "__main__":
        raise NotPlainError("neither plain data nor an object of a class that both sides define")
    made: Any = object.__new__(kind)
    made.__dict__.update(_unpacked(more[0], classes))
    return made
