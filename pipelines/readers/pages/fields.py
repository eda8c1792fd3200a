"""Fields of web pages, those of archives and those of folders alike: which a source can have, and
``meta``.
"""

from __future__ import annotations

from artifacts.errors import UserError
from pipelines.readers.rows.records import canonical_json
from pipelines.readers.span import Fields

RECORD_ID = "warc_record_id"


def page_meta(**members: str | None) -> str | None:
    """``meta`` of a page: the members that say something."""
    said = {name: value for name, value in members.items() if value}
    return canonical_json(said) if said else None


def check_page_fields(url: str, fields: Fields, ids: tuple[str, ...]) -> None:
    """Refuse fields that pages cannot have; ``ids`` are those an id may be taken from. Raises:
    UserError.
    """
    if fields.messages_field is not None:
        raise UserError(
            "web pages hold no messages",
            file=url,
            field="messages_field",
            found=fields.messages_field,
            fix="remove messages_field from this source",
        )
    if fields.id_field is not None and fields.id_field not in ids:
        raise UserError(
            "web pages have no such id",
            file=url,
            field="id_field",
            found=fields.id_field,
            allowed=ids or None,
            fix="remove id_field: ids then come from path and offset",
        )
