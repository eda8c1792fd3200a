"""Pin sources in a plan: which parts, in which order, and how they are cut into windows.

    pinned = pin("web-en", source, packing="stream", seed=1)
    here = cut(pinned, source, window=4096, longest=4096)      # blocks and windows of an epoch

A pinned source cannot change under a plan: its parts carry their checksums.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import xxhash

from artifacts.errors import UserError
from artifacts.keyed_hash import hash_key
from mixtures.order.block_sizes import OPEN_TOKENS, block_tokens, open_blocks
from mixtures.parts.open_parts import files_of
from mixtures.parts.part_files import PartFiles
from mixtures.parts.stream import SourceStream
from mixtures.plan.format import MOST, Packing, PinnedPart, PinnedSource, SourceContext
from mixtures.sequences.packing import pack
from tokenizer.shards.manifest import REBUILD
from tokenizer.shards.reader import ShardSource

Sources = Mapping[str, ShardSource | PartFiles]


def pin(
    name: str,
    source: ShardSource | PartFiles,
    packing: Packing | None,
    seed: int,
    open_tokens: int = OPEN_TOKENS,
) -> PinnedSource:
    """A source as it is now. ``packing`` None: whole documents where targets are marked, else a
    stream.

    ``open_tokens``: up to how many tokens a source is shuffled as a whole.

    Raises: UserError when it has no tokens, or its manifest has counts that no plan can hold.
    """
    manifest = source.manifest
    for part in manifest.parts:
        counts = {field: getattr(part, field) for field in ("rows", "tokens", "bytes")}
        for field, found in counts.items():
            if found > MOST:
                raise UserError(
                    f"a count of {part.file} that is none",
                    file=files_of(source).where,
                    field=f"parts.{field}",
                    found=found,
                    allowed=[f"up to {MOST:,}"],
                    fix=REBUILD,
                )
    if manifest.tokens == 0:
        raise UserError(
            f"{name} has no tokens",
            file=files_of(source).where,
            fix="give it documents, or leave it out of the mixture",
        )
    marked = manifest.trainable_tokens < manifest.tokens
    default: Literal["documents", "stream"] = "documents" if marked else "stream"
    return PinnedSource(
        name=name,
        tokenizer_hash=manifest.tokenizer_hash,
        dtype=manifest.dtype,
        vocab_size=manifest.vocab_size,
        eos_id=manifest.eos_id,
        tokens=manifest.tokens,
        open_blocks=open_blocks(manifest.tokens, open_tokens),
        key=f"{hash_key(seed, 'order/' + name):016x}",
        packing=packing or default,
        # a take-down moves nothing, so that it makes no other plan
        manifest=xxhash.xxh3_128_hexdigest(manifest.without_tombstones().to_json()),
        parts=tuple(
            PinnedPart(**part.model_dump(include=set(PinnedPart.model_fields)))
            for part in manifest.parts
        ),
    )


def check_one_tokenizer(pinned: tuple[PinnedSource, ...], sources: Sources) -> None:
    """Raises: UserError when two sources were encoded with different tokenizers."""
    first = pinned[0]
    for other in pinned[1:]:
        if (other.tokenizer_hash, other.eos_id) != (first.tokenizer_hash, first.eos_id):
            raise UserError(
                f"{first.name} and {other.name} were encoded with different tokenizers",
                file=files_of(sources[other.name]).where if other.name in sources else None,
                field="tokenizer_hash",
                found=other.tokenizer_hash,
                allowed=[first.tokenizer_hash],
                fix="build all shards of a run with one tokenizer",
            )


def cut(
    pinned: PinnedSource,
    source: ShardSource | PartFiles | None,
    window: int,
    block: int | None,
    longest: int,
) -> SourceContext:
    """A source cut into windows of ``window`` tokens, from its first epoch on.

    ``block``: tokens of a block, None to choose one that holds windows of ``longest`` tokens too.
    ``source`` is read for whole documents only, whose lengths decide how many windows there are. A
    source of fewer tokens than a window has no windows.
    """
    size = block or block_tokens(pinned.tokens, longest if longest % window == 0 else window)
    if pinned.packing == "stream":
        return SourceContext(block_tokens=size, windows=pinned.tokens // window)
    assert source is not None
    packed = packed_windows(SourceStream(pinned, files_of(source)), size, window)
    return SourceContext(block_tokens=size, windows=packed[-1], packed=packed)


def packed_windows(stream: SourceStream, block: int, window: int) -> tuple[int, ...]:
    """Windows of whole documents in the blocks before each block, and in all, (blocks + 1,): one
    pass over the documents' lengths.
    """
    counts = [0]
    for start in range(0, stream.tokens, block):
        counts.append(pack(stream.borders(start, start + block), window).windows)
    return tuple(np.cumsum(counts).tolist())
