"""Columns of token shards and of encoded chunks.

``id`` and ``text_hash`` are 16 bytes each, ``tokens`` large_list of uint16 or uint32 with EOS last
and no BOS, ``trainable`` the target spans in tokens of the document (null = every token).
"""

from __future__ import annotations

import pyarrow as pa

from artifacts.schemas import ID, TEXT_HASH, tagged

SPAN = pa.struct(
    [pa.field("start", pa.uint32(), nullable=False), pa.field("end", pa.uint32(), nullable=False)]
)
TRAINABLE = pa.list_(SPAN)
TOKEN_TYPES = {"uint16": pa.uint16(), "uint32": pa.uint32()}


def shard_schema(token_type: pa.DataType) -> pa.Schema:
    """Schema of one part of a source: ``shard/1``."""
    return tagged("shard", _fields(token_type))


def encoded_schema(token_type: pa.DataType) -> pa.Schema:
    """Schema of an encoded chunk, in chunk order: ``encoded/1``."""
    return tagged("encoded", _fields(token_type))


def _fields(token_type: pa.DataType) -> list[pa.Field]:
    return [
        pa.field("id", ID, nullable=False),
        pa.field("text_hash", TEXT_HASH, nullable=False),
        pa.field(
            "tokens", pa.large_list(pa.field("item", token_type, nullable=False)), nullable=False
        ),
        pa.field("trainable", TRAINABLE),
    ]
