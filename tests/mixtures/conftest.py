"""Small shards with documents of known tokens, and plans over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest

from artifacts.ids import document_ids, native_key
from tokenizer.shards.format import TRAINABLE
from tokenizer.shards.manifest import MANIFEST_NAME, SourceManifest, Tombstone, read_manifest
from tokenizer.shards.reader import ShardSource, open_source
from tokenizer.shards.writer import write_encoded, write_source

EOS = 2
Span = tuple[int, int]


@dataclass(frozen=True)
class Shards:
    """Sources on disk and a plain reading of them."""

    folders: dict[str, Path]

    @property
    def sources(self) -> dict[str, ShardSource]:
        return {name: open_source(folder) for name, folder in self.folders.items()}

    def documents(self, name: str) -> list[dict[str, object]]:
        """Rows of all parts in order, as Python objects."""
        rows: list[dict[str, object]] = []
        for part in read_manifest(self.folders[name]).parts:
            with pa.ipc.open_file(str(self.folders[name] / part.file)) as file:
                rows += file.read_all().to_pylist()
        return rows

    def remove(self, name: str, document: str) -> None:
        """Write a tombstone for a document."""
        manifest = read_manifest(self.folders[name])
        for part in manifest.parts:
            with pa.ipc.open_file(str(self.folders[name] / part.file)) as file:
                ids = [value.hex() for value in file.read_all()["id"].to_pylist()]
            if document in ids:
                stone = Tombstone(
                    part=part.file, row=ids.index(document), id=document, reason="asked for"
                )
                manifest = manifest.model_copy(update={"tombstones": (*manifest.tombstones, stone)})
        (self.folders[name] / MANIFEST_NAME).write_bytes(manifest.to_json())


def write_shards(
    folder: Path,
    name: str,
    documents: Sequence[Sequence[int]],
    spans: Sequence[Sequence[Span] | None] | None,
    part_tokens: int,
    tokenizer: str,
    batch_rows: int = 7,
) -> Path:
    """A source of the given documents (EOS is added), shuffled into parts as in production."""
    folder.mkdir(parents=True)
    lengths = [len(document) + 1 for document in documents]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    flat = np.array([token for document in documents for token in (*document, EOS)], np.uint16)
    tokens = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(flat))
    ids = document_ids(name, [native_key(str(number)) for number in range(len(documents))])
    column = None
    if spans is not None:
        column = pa.array(
            [None if own is None else [{"start": a, "end": b} for a, b in own] for own in spans],
            TRAINABLE,
        )
    encoded = folder.parent / f"{name}.encoded.arrow"
    with encoded.open("wb") as out:
        write_encoded(out, ids, ids, tokens, column)
    empty = SourceManifest(
        source=name,
        tokenizer_hash=tokenizer * 32,
        dtype="uint16",
        vocab_size=1000,
        eos_id=EOS,
        shuffle_key="0" * 16,
    )
    # large parts have several record batches, so small ones do here
    write_source(folder, [encoded], empty, part_tokens, batch_rows=batch_rows)
    return folder


Writer = Callable[..., Path]


@pytest.fixture
def shard_writer(tmp_path: Path) -> Writer:
    """Writes a source: (name, documents, spans=None, part_tokens=…, tokenizer="a") -> folder."""

    def write(
        name: str,
        documents: Sequence[Sequence[int]],
        spans: Sequence[Sequence[Span] | None] | None = None,
        part_tokens: int = 700,
        tokenizer: str = "a",
    ) -> Path:
        return write_shards(
            tmp_path / "shards" / name, name, documents, spans, part_tokens, tokenizer
        )

    return write


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """Four sources of some thousand tokens in several parts; ``chat`` has target spans."""
    root = tmp_path_factory.mktemp("shards")
    draw = np.random.default_rng(5)
    folders = {}
    for name, documents, longest in (
        ("web", 160, 60),
        ("code", 25, 400),
        ("tiny", 9, 12),
        ("chat", 90, 40),
    ):
        texts = [
            draw.integers(3, 1000, int(draw.integers(0, longest))).tolist()
            for _ in range(documents)
        ]
        spans = [_some_spans(draw, len(text) + 1) for text in texts] if name == "chat" else None
        folders[name] = write_shards(root / name, name, texts, spans, 900, "a")
    return Shards(folders)


def _some_spans(draw: np.random.Generator, tokens: int) -> list[Span] | None:
    """Null, none, or up to two spans in a document of ``tokens`` tokens."""
    kind = int(draw.integers(0, 4))
    if kind == 0:
        return None
    spans = min(kind - 1, (tokens + 1) // 2)
    borders = sorted(draw.choice(tokens + 1, 2 * spans, replace=False).tolist())
    return [(borders[place], borders[place + 1]) for place in range(0, len(borders), 2)]
