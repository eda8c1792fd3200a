"""Columns of a Parquet file against the fields a source asks for, from the schema alone."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.errors import UserError
from pipelines.readers.parquet.conversations import (
    ALLOWED,
    NotTextsError,
    conversation_columns,
    is_conversation,
    is_string,
)
from pipelines.readers.span import Fields
from pipelines.readers.streams.opened import open_input
from pipelines.readers.streams.watched import WatchedFile

BROKEN = (pa.ArrowException, OSError)


def check_columns(url: str, fields: Fields) -> None:
    """Refuse fields that a Parquet file has no column for; a file whose footer cannot be read
    passes. Raises: UserError.
    """
    with open_input(url) as handle:
        watched = WatchedFile(handle)
        try:
            schema = pq.read_schema(watched)
        except BROKEN:
            watched.raise_failure()
            return
    check_schema(schema, fields, url)


def check_schema(schema: pa.Schema, fields: Fields, url: str) -> None:
    """Refuse a schema in which a needed column is missing or of another type, or a column is there
    twice. Raises: UserError.
    """
    _check_twins([(field.name, field.type) for field in schema], (), url)

    def needed(setting: str, name: str, allowed: list[str], fits: bool) -> None:
        if name not in schema.names:
            raise UserError(
                "the column is missing",
                file=url,
                field=name,
                found=name,
                allowed=schema.names,
                fix=f"name one of these columns in the setting {setting} of the source",
            )
        if not fits:
            raise UserError(
                "the column has another type",
                file=url,
                field=name,
                found=schema.field(name).type,
                allowed=allowed,
                fix="name another column, or write this one with an allowed type",
            )

    def kind(name: str) -> pa.DataType:
        found = schema.field(name).type if name in schema.names else pa.null()
        return found.value_type if pa.types.is_dictionary(found) else found

    if fields.messages_field is None:
        conversations = conversation_columns(schema)
        if fields.text_field not in schema.names and conversations:
            raise NotTextsError(
                "the column is missing, and the rows are conversations",
                file=url,
                field=fields.text_field,
                found=fields.text_field,
                allowed=schema.names,
                fix=f"set messages_field: {conversations[0]}",
            )
        texts = is_string(kind(fields.text_field))
        needed("text_field", fields.text_field, ["string", "large_string"], texts)
    elif fields.messages_field in schema.names or len(conversation_columns(schema)) != 1:
        fits = is_conversation(schema, fields.messages_field)
        needed("messages_field", fields.messages_field, ALLOWED, fits)
    if fields.id_field is not None:
        key = kind(fields.id_field)
        needed(
            "id_field",
            fields.id_field,
            ["string", "large_string", "int64"],
            is_string(key) or pa.types.is_integer(key),
        )


def _check_twins(fields: list[tuple[str, pa.DataType]], outer: tuple[str, ...], url: str) -> None:
    """Refuse a name that two columns have, or two fields of one struct. Raises: UserError."""
    counts = Counter(name for name, _ in fields)
    for name, kind in fields:
        place = ".".join((*outer, name))
        if counts[name] > 1:
            raise UserError(
                f"{counts[name]} columns have one name"
                if not outer
                else "a struct has a field twice",
                file=url,
                field=place,
                found=f"{counts[name]} times {place}",
                fix="write the file again with each name once",
            )
        while inner := _of_list(kind):
            kind = inner
        if pa.types.is_map(kind):
            _check_twins([("key", kind.key_type), ("value", kind.item_type)], (*outer, name), url)
        elif pa.types.is_struct(kind):
            inside = [kind.field(number) for number in range(kind.num_fields)]
            _check_twins([(field.name, field.type) for field in inside], (*outer, name), url)


def _of_list(kind: pa.DataType) -> pa.DataType | None:
    """What a list, or a dictionary, is of."""
    listed = (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_dictionary(kind)
    )
    return kind.value_type if listed else None
