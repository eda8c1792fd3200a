"""Take-downs of a run: which documents may no longer be shown, in all shards it has and will have.

``take-downs.json`` in the run's folder lists them; it is written first. Then every source of shards
gets its tombstones. Shards that a later run makes anew get theirs from the list, so that a document
does not come back with another threshold or tokenizer.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from artifacts.books import DamageError, sealed, unsealed
from artifacts.commands import Command
from artifacts.errors import Setting, UserError
from artifacts.lock import run_lock
from artifacts.paths import Store
from mixtures.parts.open_parts import open_shards
from pipelines.shards.id_lists import shortened
from pipelines.shards.local_folder import local_folder
from tokenizer.shards.take_down import Place, find_documents, take_down

LIST = "take-downs.json"
FORMAT = "take-downs/1"
RESTORE = (
    "restore it from a copy; without one, delete it and give every id again (",
    Command("shards remove RUN --ids FILE --reason TEXT"),
    "): shards that are there keep what was taken down of them",
)
_ID = re.compile(r"[0-9a-f]{32}")
SHOWN = 5  # unknown ids named in an error


@dataclass(frozen=True)
class Removal:
    """What a take-down did: documents newly removed by source, documents removed before, ids found
    nowhere, as they were given.
    """

    removed: dict[str, int]
    already: int
    unknown: tuple[str, ...]


def remove_from_run(
    store: Store,
    record: dict[str, Any],
    ids: Mapping[bytes, str],
    reason: str,
    ignore_missing: bool = False,
) -> Removal:
    """Take documents down in all shards of a run and in those it will make. ``ids``: 16 bytes each,
    with how it was given.

    Raises: UserError naming ids that no shard holds, unless ``ignore_missing``; nothing is written
    then. With it they are listed all the same and removed should they come back.
    """
    with run_lock(store), contextlib.ExitStack() as copies:
        _check_reason(reason)
        folders = {
            name: copies.enter_context(local_folder(store, entry["folder"]))
            for name, entry in sorted(record["shards"].items())
        }
        found = {name: find_documents(folder, ids) for name, folder in folders.items()}
        unknown = _unknown(ids, found.values(), store.root, ignore_missing)
        listed = _listed(store)
        for one in ids:
            listed.setdefault(one.hex(), reason)
        store.write(LIST, _to_json(listed))
        return _removed(folders, found, reason, unknown)


def remove_from_folder(
    folder: str,
    ids: Mapping[bytes, str],
    reason: str,
    ignore_missing: bool = False,
    shown: str | None = None,
) -> Removal:
    """Take documents down in the shards of one folder. ``shown``: what texts call it. Raises:
    UserError as :func:`remove_from_run`.
    """
    _check_reason(reason)
    name = shown or folder
    found = {name: find_documents(folder, ids)}
    return _removed(
        {name: folder}, found, reason, _unknown(ids, found.values(), name, ignore_missing)
    )


def repeat_take_downs(store: Store, folders: Iterable[str]) -> int:
    """Give shards, some of them made anew, the tombstones of the run's list; returns how many were
    missing.
    """
    if not store.exists(LIST):
        return 0
    listed = _listed(store)
    written = 0
    for name in folders:
        with local_folder(store, name) as folder:
            places = find_documents(folder, map(bytes.fromhex, listed))
            for reason in sorted({listed[place.id] for place in places}):
                chosen = [place for place in places if listed[place.id] == reason]
                written += take_down(folder, chosen, reason)
    return written


def complete_take_downs(store: Store, record: Mapping[str, Any]) -> int:
    """Write the tombstones of the run's list that its shards lack, because a take-down was killed
    or the list was edited; returns how many.
    """
    listed = set(_listed(store))
    if not listed:
        return 0
    folders = [entry["folder"] for entry in record["shards"].values() if entry["documents"]]
    manifests = (open_shards(store.full(folder)).manifest for folder in folders)
    if listed <= {stone.id for manifest in manifests for stone in manifest.tombstones}:
        return 0
    return repeat_take_downs(store, folders)


def taken_down_ids(store: Store) -> tuple[str, ...]:
    """Ids in hex of the documents that a run may not show, ascending. Raises: UserError where the
    list is damaged.
    """
    return tuple(sorted(_listed(store)))


def _removed(
    folders: dict[str, str], found: dict[str, list[Place]], reason: str, unknown: tuple[str, ...]
) -> Removal:
    removed = {name: take_down(folders[name], places, reason) for name, places in found.items()}
    before = sum(len(places) for places in found.values()) - sum(removed.values())
    return Removal({name: count for name, count in removed.items() if count}, before, unknown)


def _unknown(
    ids: Mapping[bytes, str], found: Iterable[list[Place]], file: object, ignore_missing: bool
) -> tuple[str, ...]:
    known = {place.id for places in found for place in places}
    unknown = tuple(given for one, given in ids.items() if one.hex() not in known)
    if unknown and not ignore_missing:
        more = f" and {len(unknown) - SHOWN:,} more" if len(unknown) > SHOWN else ""
        raise UserError(
            f"{len(unknown):,} of {len(ids):,} documents are in no shard; nothing was removed",
            file=file,
            parameter="ids",
            found=", ".join(map(shortened, unknown[:SHOWN])) + more,
            fix=("correct the ids, or remove the others (", Setting("ignore_missing", True), ")"),
        )
    return unknown


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise UserError(
            "a take-down has a reason",
            parameter="reason",
            found=repr(reason),
            fix="say in a few words why, and who asked",
        )


def _listed(store: Store) -> dict[str, str]:
    """Id -> reason of the run's list, empty where there is none. Raises: UserError when it is no
    such list.
    """
    if not store.exists(LIST):
        return {}
    try:
        value = unsealed(store.read(LIST), required=False)
    except DamageError as error:
        raise _damaged(store, str(error)) from None
    if value.get("format") != FORMAT:
        raise UserError(
            "not a list of take-downs this release can read",
            file=store.full(LIST),
            field="format",
            found=value.get("format"),
            allowed=[FORMAT],
            fix=RESTORE,
        )
    try:
        listed = {entry["id"]: entry["reason"] for entry in value["documents"]}
    except (KeyError, TypeError) as error:
        raise _damaged(store, f"not its fields: {error}") from None
    for one, reason in listed.items():
        if not (isinstance(one, str) and _ID.fullmatch(one) and isinstance(reason, str)):
            raise _damaged(store, f"{one!r}: {reason!r}, which is no document with its reason")
    return listed


def _damaged(store: Store, found: str) -> UserError:
    return UserError(
        "the list of take-downs is damaged", file=store.full(LIST), found=found, fix=RESTORE
    )


def _to_json(listed: dict[str, str]) -> bytes:
    documents = [{"id": one, "reason": reason} for one, reason in sorted(listed.items())]
    content = sealed({"format": FORMAT, "documents": documents})
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
