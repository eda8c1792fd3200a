"""The settings of an index: given when it is made, and the same for all its batches afterwards."""

from __future__ import annotations

from collections.abc import Mapping

from artifacts.errors import UserError
from artifacts.paths import Store
from dedup.index.files import HEAD, IndexHead, IndexSettings
from dedup.near.settings import INDEX, check


def settled(
    store: Store, head: IndexHead | None, given: Mapping[str, int | float | None]
) -> IndexHead:
    """The head, or that of a new index. Raises: UserError for numbers out of range or other than
    the index's.
    """
    unknown = set(given) - (set(IndexSettings.model_fields) - {"algorithm"})
    if unknown:
        raise TypeError(f"no such settings: {sorted(unknown)}")
    wanted = {name: value for name, value in given.items() if value is not None}
    if head is None:
        return _new(wanted)
    own = head.settings.model_dump()
    for name, value in wanted.items():
        if value != own[name]:
            raise UserError(
                "this index compares by another number",
                file=store.full(HEAD),
                parameter=name,
                found=value,
                allowed=[own[name]],
                fix=(
                    f"leave it out or give {own[name]}; an index with another number is another "
                    "folder"
                ),
            )
    return head


def _new(given: Mapping[str, int | float]) -> IndexHead:
    for name, value in given.items():
        check(name, value, INDEX)
    wanted = {**given, **({"verify": float(given["verify"])} if "verify" in given else {})}
    settings = IndexSettings.model_validate(wanted)
    return IndexHead(settings=settings.model_copy(update={"algorithm": settings.config.algorithm}))
