"""What a recipe asks for once a training has ended: scores on benchmark tasks, an export."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from artifacts.errors import UserError
from artifacts.settings import Part
from pipelines.recipe.name import Name

OVERLAP = 0.5


class Shorthand(Part):
    """Settings for which a string may stand."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(core), {"type": "string"}]}


class TaskFiles(Shorthand):
    """Files of benchmark items. A string stands for paths alone: then every file is a task."""

    paths: Annotated[
        tuple[str, ...],
        Field(
            min_length=1,
            description="files or globs: relative to corpus.root, or absolute; together one task",
        ),
    ]
    name: Name | None = Field(
        default=None, description="what scores are shown under; default: the first file's name"
    )
    layout: str | None = Field(
        default=None, description="how the files are laid out; default: told by their fields"
    )
    each: bool = Field(default=False, description="every file is a task of its own")

    @model_validator(mode="after")
    def _one_name_is_of_one_task(self) -> TaskFiles:
        if self.each and self.name is not None:
            raise UserError(
                "one name cannot stand for several tasks",
                field="name",
                found=self.name,
                fix="leave each out, so that the files are one task, or leave name out",
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _a_string_is_paths(cls, values: Any) -> Any:
        return {"paths": (values,), "each": True} if isinstance(values, str) else values


class EvaluateSettings(Part):
    """Benchmark tasks that every ending of the training is scored on."""

    tasks: Annotated[tuple[TaskFiles, ...], Field(min_length=1)]
    limit: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="items of each task, evenly spread; default: all"
    )
    overlap: float = Field(
        default=OVERLAP,
        gt=0,
        le=1,
        description="share of an item's n-grams found in one training document from which it "
        "counts as contaminated",
    )


class ExportAfter(Shorthand):
    """How the trained model is written. A string stands for the layout."""

    to: Literal["granite", "llama", "minicpm"] = "granite"
    dtype: Literal["fp32", "bf16"] = "fp32"

    @model_validator(mode="before")
    @classmethod
    def _a_string_is_the_layout(cls, values: Any) -> Any:
        return {"to": values} if isinstance(values, str) else values
