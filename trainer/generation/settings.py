"""How a text is continued: how long, how it is drawn, where it stops, how far the model looks."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationError

from artifacts.errors import Setting, UserError
from artifacts.records import Record

StopString = Annotated[str, Field(min_length=1)]


class GenerateSettings(Record):
    """``tokens``: how many at most. ``temperature`` 0 takes the likeliest token each time, and then
    the filters below do nothing.

    What may be drawn is narrowed in the order of transformers: ``repetition_penalty`` divides
    positive scores of tokens that were read or said and multiplies negative ones (1 changes
    nothing), then comes the temperature; then ``top_k`` keeps so many likeliest tokens (and what is
    as likely as the last), ``top_p`` the likeliest that make up this probability, ``min_p`` those
    that have at least this share of the likeliest one's probability.

    ``stop``: texts at the first of which an answer ends; it is not shown. ``context``: tokens the
    model looks back, at best :func:`~trainer.checkpoints.recorded.trained_window`; None for all
    there are. ``batch``: how many prompts are answered at the same time. ``seed``: prompt number 0
    of a call draws from it, prompt r from it and r, whatever stands beside.
    """

    tokens: Annotated[int, Field(ge=1, description="a whole number from 1")] = 64
    temperature: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description="a finite number from 0")
    ] = 0.0
    top_k: Annotated[
        int | None, Field(ge=1, description="a whole number from 1, or nothing for all")
    ] = None
    top_p: Annotated[float, Field(gt=0, le=1, description="a number above 0, up to 1")] = 1.0
    min_p: Annotated[float, Field(ge=0, le=1, description="a number from 0 to 1")] = 0.0
    repetition_penalty: Annotated[
        float, Field(ge=0.01, le=100, description="a number from 0.01 to 100; 1 is none")
    ] = 1.0
    stop: Annotated[
        tuple[StopString, ...], Field(description="texts of at least one character")
    ] = ()
    seed: Annotated[
        int, Field(ge=0, lt=1 << 63, description=f"a whole number from 0 to {(1 << 63) - 1}")
    ] = 1
    context: Annotated[
        int | None, Field(ge=1, description="a whole number from 1, or nothing for all")
    ] = None
    batch: Annotated[int, Field(ge=1, description="a whole number from 1")] = 16

    @classmethod
    def asked(cls, **values: Any) -> GenerateSettings:
        """Settings that a user asked for. Raises: UserError naming the first that is not valid."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            known = cls.model_fields.get(name)
            raise UserError(
                "a text cannot be generated so",
                parameter=name,
                found=first["input"],
                allowed=[known.description] if known else sorted(cls.model_fields),
                fix=("give ", Setting(name), " another value, or leave it out"),
            ) from None

    @property
    def filters(self) -> list[str]:
        """Names of the settings that narrow what is drawn, as far as they are asked for."""
        fields = ("top_k", "top_p", "min_p")
        return [
            name for name in fields if getattr(self, name) != type(self).model_fields[name].default
        ]
