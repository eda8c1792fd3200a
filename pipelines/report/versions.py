"""Libraries that decided the bytes of a run, as its units recorded them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from artifacts.paths import Store
from artifacts.publish import published
from pipelines.report.calls import encoded_files


def recorded_libraries(store: Store, record: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, version) of every library named by the units of the first chunk of each source, the
    tokenizer and the shards.
    """
    entries: set[str] = set()
    for prefix in sorted({name.rpartition("/")[0] for name in _files(record)}):
        manifest = published(store, prefix)
        entries.update(manifest.inputs.get("libraries", ()) if manifest else ())
    return sorted(
        {(name, version) for name, version, *_ in (entry.split(" ") for entry in entries)},
        key=lambda pair: (pair[0].lower(), pair[1]),
    )


def _files(record: dict[str, Any]) -> Iterable[str]:
    seen: set[str] = set()
    for chunk in record["chunks"]:
        if chunk["source"] not in seen:
            seen.add(chunk["source"])
            refs = [
                chunk["documents"],
                chunk["selection"],
                *chunk["rewrites"],
                *chunk["signals"].values(),
            ]
            yield from (ref["name"] for ref in refs if ref)
    yield from {source: file.name for source, file in reversed(encoded_files(record))}.values()
    if record["tokenizer"]:
        yield record["tokenizer"]["file"]["name"]
    yield from (f"{facts['folder']}/x" for facts in record["shards"].values())
