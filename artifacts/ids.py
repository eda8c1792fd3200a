"""Document ids: 128 bits that depend on the source's name and the record's key, on nothing else.

``id = xxh3_128(source name + 0x00 + key)``. The key is the record's declared id field, else its
path relative to the source's glob root, a zero byte, and its byte offset in the uncompressed
stream. So an id does not change with the folder the corpus lies in, with other files, or with the
way files are cut into chunks. ``text_hash = xxh3_128(UTF-8 text)``.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from artifacts.messages import FlatMessages, flat_messages
from artifacts.schemas import ID


def native_key(native_id: str) -> bytes:
    """Key of a record that carries its own id."""
    return b"n\0" + native_id.encode("utf-8", "surrogatepass")


def place_key(path: str, offset: int) -> bytes:
    """Key of a record known only by its place: relative path and byte offset."""
    return b"p\0" + path.encode("utf-8", "surrogateescape") + b"\0" + str(offset).encode()


def place_keys(path: str, offsets: Iterable[int]) -> list[bytes]:
    """The same of many records of one file."""
    prefix = place_key(path, 0)[:-1]
    return [prefix + b"%d" % offset for offset in offsets]


def document_ids(source: str, keys: Iterable[bytes]) -> pa.FixedSizeBinaryArray:
    """Ids of the records of one source, 16 bytes each, in the order of their keys."""
    prefix = source.encode() + b"\0"
    digests = b"".join([xxhash.xxh3_128_digest(prefix + key) for key in keys])
    return binary16(digests)


def text_hashes(texts: pa.LargeStringArray) -> pa.FixedSizeBinaryArray:
    """xxh3_128 of each text's UTF-8 bytes; texts hold no nulls."""
    _, offsets_buffer, bytes_buffer = texts.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64, len(texts) + 1, texts.offset * 8).tolist()
    view = memoryview(bytes_buffer) if bytes_buffer is not None else memoryview(b"")
    digest = xxhash.xxh3_128_digest
    return binary16(
        b"".join([digest(view[a:b]) for a, b in zip(offsets, offsets[1:], strict=False)])
    )


def conversation_hashes(messages: pa.ListArray) -> pa.FixedSizeBinaryArray:
    """Hash of each conversation: xxh3_128 over role, byte length and content of every message, so
    that borders and roles count.

    A message with a weight other than 1, with tool calls or a name is followed by these, each with
    its own name and length.
    """
    flat = flat_messages(messages)
    roles, contents = flat.roles.to_pylist(), flat.contents.to_pylist()
    further = _further_members(flat)
    digests, place = [], 0
    for count in flat.counts.tolist():
        digest = xxhash.xxh3_128()
        for message in range(place, place + count):
            content = contents[message].encode()
            digest.update(
                roles[message].encode() + b"\0" + str(len(content)).encode() + b"\0" + content
            )
            if message in further:
                digest.update(further[message])
        digests.append(digest.digest())
        place += count
    return binary16(b"".join(digests))


def _further_members(flat: FlatMessages) -> dict[int, bytes]:
    """By message: what its hash covers beside role and content, of those that have any such."""
    further: dict[int, bytes] = {}
    for name, column in (
        ("weight", flat.weights),
        ("tool_calls", flat.tool_calls),
        ("name", flat.names),
    ):
        for message in np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)).tolist():
            value = column[message].as_py()
            if name == "weight" and value == 1:
                continue
            spelled = str(value).encode()
            further[message] = further.get(message, b"") + b"\0".join(
                [b"", name.encode(), str(len(spelled)).encode(), spelled]
            )
    return further


def binary16(raw: bytes) -> pa.FixedSizeBinaryArray:
    """Arrow array of 16-byte values over one bytes object, without a copy."""
    return pa.FixedSizeBinaryArray.from_buffers(ID, len(raw) // 16, [None, pa.py_buffer(raw)])


def as_words(ids: pa.FixedSizeBinaryArray) -> NDArray[np.uint64]:
    """Ids as (n, 2) big-endian halves in native uint64, so that numeric order is byte order."""
    raw = np.frombuffer(ids.buffers()[1], np.uint8, len(ids) * 16, ids.offset * 16)
    return raw.view(">u8").reshape(-1, 2).astype(np.uint64)


def from_words(words: NDArray[np.uint64]) -> pa.FixedSizeBinaryArray:
    """The inverse of :func:`as_words`."""
    return binary16(np.ascontiguousarray(words).astype(">u8").tobytes())


def shown(value: bytes) -> str:
    """An id as people see it: 32 hex digits."""
    return value.hex()
