"""JSON objects of other programs, for which nobody vouches.

values = foreign_object(path.read_bytes(), path, largest=4 << 20)
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from artifacts.errors import UserError

_RESTORE = "restore it from where it came from"


class _TwiceError(ValueError):
    """An object has a key twice: readers differ in which of both they take."""


def foreign_object(raw: bytes, file: object, largest: int) -> dict[str, Any]:
    """The object that a file holds. Raises: UserError for more than ``largest`` bytes, for what is
    no JSON object, and for one in which a key stands twice.
    """
    if len(raw) > largest:
        raise UserError(
            "the file is too large for what it should hold",
            file=file,
            found=f"{len(raw):,} bytes",
            allowed=[f"up to {largest:,} bytes"],
            fix=_RESTORE,
        )
    try:
        values = json.loads(raw, object_pairs_hook=_once)
    except _TwiceError as error:
        raise UserError(
            "a key stands twice in one object, so what it says is not clear",
            file=file,
            field=str(error),
            fix="remove one of both",
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError("not JSON", file=file, found=str(error), fix=_RESTORE) from None
    if not isinstance(values, dict):
        raise UserError("not a JSON object", file=file, found=type(values).__name__, fix=_RESTORE)
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise _TwiceError(counts.most_common(1)[0][0])
    return values
