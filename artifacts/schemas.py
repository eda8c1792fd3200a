"""Arrow schemas of every table the house exchanges, each with its format version.

The version travels in the schema metadata (``windtunnel.format``: ``"documents/1"``). A reader
accepts the versions in :data:`READABLE`, and refuses others with an error that says which release
wrote them. ``docs/formats.md`` describes the columns for users.
"""

from __future__ import annotations

import pyarrow as pa

from artifacts.errors import UserError

FORMAT_KEY = b"windtunnel.format"

VERSIONS = {
    "documents": 2,
    "signals": 1,
    "selection": 1,
    "evidence": 2,
    "spans": 1,
    "quarantine": 1,
    "shard": 1,
    "encoded": 1,
    "rewrite": 1,
}
# evidence/1 has no column cluster; messages of documents/1 have role and content alone
READABLE = {name: (version,) for name, version in VERSIONS.items()} | {
    "documents": (1, 2),
    "evidence": (1, 2),
}

ID = pa.binary(16)
TEXT_HASH = pa.binary(16)
MESSAGES = pa.list_(
    pa.struct(
        [
            pa.field("role", pa.string()),
            pa.field("content", pa.large_string()),
            pa.field("weight", pa.float64()),
            pa.field("tool_calls", pa.large_string()),
            pa.field("name", pa.string()),
        ]
    )
)


def tagged(name: str, fields: list[pa.Field], version: int | None = None) -> pa.Schema:
    """A schema that carries its format name and version, by default the newest."""
    mark = f"{name}/{VERSIONS[name] if version is None else version}"
    return pa.schema(fields, metadata={FORMAT_KEY: mark.encode()})


_DOCUMENT_FIELDS = [
    pa.field("id", ID, nullable=False),
    pa.field("native_id", pa.string()),
    pa.field("text", pa.large_string(), nullable=False),
    pa.field("text_hash", TEXT_HASH, nullable=False),
    pa.field("source", pa.string(), nullable=False),
    pa.field("lang", pa.string()),
    pa.field("url", pa.string()),
    pa.field("license", pa.string()),
    pa.field("date", pa.string()),
    pa.field("path", pa.string(), nullable=False),
    pa.field("offset", pa.int64(), nullable=False),
    pa.field("meta", pa.large_string()),
]

# only messages differ between the versions: documents without them keep their mark, so their bytes
DOCUMENTS = tagged("documents", _DOCUMENT_FIELDS, 1)
INSTRUCTIONS = tagged("documents", [*_DOCUMENT_FIELDS, pa.field("messages", MESSAGES)])
PREFERENCES = tagged(
    "documents",
    [
        *_DOCUMENT_FIELDS,
        pa.field("prompt", pa.large_string()),
        pa.field("chosen", pa.large_string()),
        pa.field("rejected", pa.large_string()),
    ],
    1,
)

REWRITE = tagged(
    "rewrite",
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", ID, nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("text_hash", TEXT_HASH, nullable=False),
    ],
)

SELECTION = tagged(
    "selection",
    [
        pa.field("id", ID, nullable=False),
        pa.field("text_hash", TEXT_HASH, nullable=False),
        pa.field("kept", pa.bool_(), nullable=False),
        pa.field("stage", pa.string()),
        pa.field("reason", pa.string()),
    ],
)

EVIDENCE = tagged(
    "evidence",
    [
        pa.field("id", ID, nullable=False),
        pa.field("kept_id", ID, nullable=False),
        pa.field("similarity", pa.float32(), nullable=False),
        pa.field("bands_hit", pa.int32(), nullable=False),
        pa.field("cluster", ID, nullable=False),
        pa.field("cluster_size", pa.int64(), nullable=False),
    ],
)

SPANS = tagged(
    "spans",
    [
        pa.field("id", ID, nullable=False),
        pa.field("text_hash", TEXT_HASH, nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("kept_id", ID, nullable=False),
        pa.field("kept_start", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("words", pa.int64(), nullable=False),
    ],
)

QUARANTINE = tagged(
    "quarantine",
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
        pa.field("raw", pa.large_binary(), nullable=False),
    ],
)


def signals(columns: list[pa.Field]) -> pa.Schema:
    """Schema of one measure: ``id`` and ``text_hash`` of what was measured, then its columns."""
    fields = [pa.field("id", ID, nullable=False), pa.field("text_hash", TEXT_HASH, nullable=False)]
    return tagged("signals", [*fields, *columns])


def check_format(schema: pa.Schema, name: str, file: object) -> None:
    """Refuse a table of another format or of a version this release cannot read.

    Raises: UserError naming the file, what it holds and what can be read.
    """
    found = (schema.metadata or {}).get(FORMAT_KEY, b"").decode(
        errors="replace"
    ) or "no format mark"
    allowed = [f"{name}/{version}" for version in READABLE[name]]
    if found not in allowed:
        raise UserError(
            f"not a {name} table this release can read",
            file=file,
            field=FORMAT_KEY.decode(),
            found=found,
            allowed=allowed,
            fix="rebuild the file with this release, or read it with the release that wrote it",
        )
