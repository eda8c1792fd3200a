"""Names of formats in a recipe: whatever :data:`pipelines.readers.FORMATS` holds at the time."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from pipelines.readers import AUTO, FORMATS


class _KnownFormat:
    """Validates as a ``Literal`` of the names would, had it been written a moment ago."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_known)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"enum": [AUTO, *FORMATS], "type": "string"}


def _known(value: Any) -> str:
    names = [AUTO, *FORMATS]
    if isinstance(value, str) and value in names:
        return value
    *others, last = map(repr, names)
    raise PydanticKnownError("literal_error", {"expected": f"{', '.join(others)} or {last}"})


FormatName = Annotated[str, _KnownFormat()]
"""``auto``, or a format by its name."""
