"""Settings that every stage has that removes copies."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from artifacts.errors import UserError
from dedup.near.settings import RECIPE, default, description, limits
from pipelines.stages.base import StageSettings, Surroundings


def near_field(name: str, *, described: bool = True) -> Any:
    """A field of a stage: the setting of this name in :mod:`dedup.near.settings`, for a recipe."""
    bounds = limits(name, RECIPE)
    facts: dict[str, Any] = {"description": description(name)} if described else {}
    if bounds is not None:
        facts["gt" if bounds.above else "ge"] = bounds.low
        facts |= {} if bounds.high is None else {"le": bounds.high}
    return Field(default=default(name, RECIPE), **facts)


class DedupSettings(StageSettings):
    """Which sources win, and how much may go."""

    prefer: tuple[str, ...] = Field(
        default=(),
        description=(
            "sources whose copies stay before those of others, the most wanted first; before every "
            "column of keep"
        ),
    )
    max_removed_share: float = near_field("max_removed_share")

    def preferred(self, around: Surroundings, name: str) -> tuple[str, ...]:
        """The sources of ``prefer``. Raises: UserError naming one that the stage does not compare,
        or that stands there twice.
        """
        allowed = self.sources or around.sources
        for place, source in enumerate(self.prefer):
            if source not in allowed:
                fix = (
                    "name sources of this recipe"
                    if self.sources is None
                    else "name sources that this stage compares"
                )
                raise UserError(
                    "no such source to prefer",
                    field=(name, "prefer"),
                    found=source,
                    allowed=allowed,
                    fix=fix,
                )
            if source in self.prefer[:place]:
                raise UserError(
                    "a source is preferred twice",
                    field=(name, "prefer"),
                    found=source,
                    fix="name it once",
                )
        return self.prefer
