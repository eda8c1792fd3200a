"""The parts of each source's token shards, from their manifests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from artifacts.paths import Store
from tokenizer.shards.manifest import MANIFEST_NAME, PartRecord, parse_manifest

PARTS = 24  # shown of one source


@dataclass(frozen=True)
class SourceShards:
    """One source: its folder, its totals, and its first parts."""

    source: str
    folder: str
    dtype: str
    documents: int
    tokens: int
    trainable_tokens: int
    bytes: int
    parts: tuple[PartRecord, ...]
    more: int  # parts not in ``parts``


def read_shards(store: Store, record: dict[str, Any]) -> list[SourceShards]:
    """Shards of all sources that have any, by name."""
    found = []
    for source, facts in sorted(record["shards"].items()):
        name = f"{facts['folder']}/{MANIFEST_NAME}"
        manifest = parse_manifest(store.read(name), store.full(name))
        found.append(
            SourceShards(
                source=source,
                folder=facts["folder"],
                dtype=manifest.dtype,
                documents=manifest.rows,
                tokens=manifest.tokens,
                trainable_tokens=manifest.trainable_tokens,
                bytes=sum(part.bytes for part in manifest.parts),
                parts=manifest.parts[:PARTS],
                more=max(0, len(manifest.parts) - PARTS),
            )
        )
    return found
