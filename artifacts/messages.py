"""Conversations as columns: each member of all their messages in one array.

    flat = flat_messages(documents["messages"])
    flat.counts                  # (n,) messages per conversation
    flat.roles, flat.weights     # (m,) of all messages, conversation after conversation

Messages of documents/1 have ``role`` and ``content`` alone; their other members are null here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.schemas import MESSAGES


@dataclass(frozen=True)
class FlatMessages:
    """Members of m messages of n conversations, in order."""

    counts: NDArray[np.int64]  # (n,)
    roles: pa.StringArray  # (m,)
    contents: pa.LargeStringArray  # (m,)
    weights: pa.DoubleArray  # (m,) null = 1
    tool_calls: pa.LargeStringArray  # (m,) JSON lists, null = none
    names: pa.StringArray  # (m,)


def flat_messages(messages: pa.ListArray | pa.ChunkedArray) -> FlatMessages:
    """The members of conversations, of which some may be null or lack the newer members."""
    column = messages.combine_chunks() if isinstance(messages, pa.ChunkedArray) else messages
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    flat = column.flatten()
    names = [flat.type.field(place).name for place in range(flat.type.num_fields)]

    def member(name: str) -> pa.Array:
        kind = MESSAGES.value_type.field(name).type
        return (
            pc.struct_field(flat, name).cast(kind) if name in names else pa.nulls(len(flat), kind)
        )

    return FlatMessages(
        counts.astype(np.int64),
        member("role"),
        member("content"),
        member("weight"),
        member("tool_calls"),
        member("name"),
    )


def without_nulls(conversation: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages of a conversation with role, content and those other members they have."""
    return [_said(message) for message in conversation]


def _said(message: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in message.items()
        if value is not None or name in ("role", "content")
    }
