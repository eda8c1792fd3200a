"""The manifest of a source: which parts it has and how to know they are whole.

``source.json``, canonical JSON (sorted keys, one line end), published last. Parts are only ever
appended. What a reader needs of one part alone lies beside the part
(:mod:`tokenizer.shards.part_index`), so that the manifest stays small: under 400 bytes per part, 15
MB for 10^13 tokens in parts of 2^28.

Format of one tombstone: ``{"part": file name, "row": row in the part, "id": 32 hex digits,
"reason": text}``; the row keeps its length and is never shown.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.records import Record

MANIFEST_NAME = "source.json"
MANIFEST_FORMAT = "source/2"
REBUILD = (
    "restore it, or delete its folder: ",
    Command("run RECIPE"),
    " makes that anew, with the take-downs of the run",
)
"""How to mend a damaged file of a source."""

_MAX_MANIFEST_BYTES = 1 << 30
_HEX128 = Field(pattern=r"^[0-9a-f]{32}$")


class PartRecord(Record):
    """One immutable part file.

    ``append`` numbers the writes to the source: parts of one write share one shuffle. ``checksum``
    is xxh3_128 of the part file, ``index_checksum`` that of its index beside it.
    """

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.arrow$")
    append: int = Field(ge=0)
    rows: int = Field(ge=0)
    tokens: int = Field(ge=0)
    trainable_tokens: int = Field(ge=0)
    bytes: int = Field(ge=0)
    checksum: str = _HEX128
    index_checksum: str = _HEX128

    @property
    def index_file(self) -> str:
        """Name of the part's index: ``part-00000.json`` beside ``part-00000.arrow``."""
        return self.file.removesuffix(".arrow") + ".json"


class Tombstone(Record):
    """A document taken down: where it lies and why."""

    part: str
    row: int = Field(ge=0)
    id: str = _HEX128
    reason: str


class SourceManifest(Record):
    """A source: what its tokens mean and its parts in order. ``shuffle_key`` is 16 hex digits."""

    format: Literal["source/2"] = "source/2"
    source: str
    tokenizer_hash: str = _HEX128
    dtype: Literal["uint16", "uint32"]
    vocab_size: int = Field(ge=1)
    eos_id: int = Field(ge=0)
    shuffle_key: str = Field(pattern=r"^[0-9a-f]{16}$")
    parts: tuple[PartRecord, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()

    @property
    def rows(self) -> int:
        """Documents in all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def tokens(self) -> int:
        """Tokens in all parts, EOS included."""
        return sum(part.tokens for part in self.parts)

    @property
    def trainable_tokens(self) -> int:
        """Target tokens in all parts."""
        return sum(part.trainable_tokens for part in self.parts)

    def with_parts(self, parts: list[PartRecord]) -> SourceManifest:
        """The source after an append. Raises: UserError when a file name is taken."""
        taken = {part.file for part in self.parts}
        for part in parts:
            if part.file in taken:
                raise UserError(
                    "parts are immutable; this one exists",
                    field="parts",
                    found=part.file,
                    fix="append under a new name",
                )
            taken.add(part.file)
        return self.model_copy(update={"parts": (*self.parts, *parts)})

    def without_tombstones(self) -> SourceManifest:
        """The source as it is written, whatever was taken down of it."""
        return self.model_copy(update={"tombstones": ()})

    def to_json(self) -> bytes:
        """Canonical bytes: sorted keys, UTF-8, one line end."""
        text = json.dumps(
            self.model_dump(mode="json"), sort_keys=True, indent=1, ensure_ascii=False
        )
        return text.encode() + b"\n"


def read_manifest(folder: Path | str) -> SourceManifest:
    """The manifest in a source's folder.

    Raises: UserError when it is missing, unreadable, of another format or malformed.
    """
    return parse_manifest(read_raw_manifest(folder), Path(folder) / MANIFEST_NAME)


def read_raw_manifest(folder: Path | str) -> bytes:
    """The bytes of a source's manifest. Raises: UserError when it is missing or unreadable."""
    path = Path(folder) / MANIFEST_NAME
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise UserError(
                "the manifest is too large to be one",
                file=path,
                found=f"{path.stat().st_size} bytes",
            )
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            "no readable source here",
            file=path,
            found=error.strerror,
            fix=("name a folder of shards that ", Command("run RECIPE"), " wrote"),
        ) from None


def parse_manifest(raw: bytes, path: object) -> SourceManifest:
    """The manifest of these bytes; ``path`` is named in errors.

    Raises: UserError when it is not JSON, of another format or malformed.
    """
    try:
        facts = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UserError(
            "the manifest is not JSON",
            file=path,
            found=str(error),
            fix=REBUILD,
        ) from None
    found = facts.get("format") if isinstance(facts, dict) else None
    if found != MANIFEST_FORMAT:
        raise UserError(
            "a source this release cannot read",
            file=path,
            field="format",
            found=found,
            allowed=[MANIFEST_FORMAT],
            fix=("rebuild the shards with this release: ", Command("run RECIPE")),
        )
    try:
        return SourceManifest.model_validate(facts)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(
            f"the manifest is damaged: {first['msg']}",
            file=path,
            field=".".join(str(place) for place in first["loc"]),
            found=first["input"],
            fix=REBUILD,
        ) from None
