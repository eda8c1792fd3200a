"""Settings that every stage has that removes copies."""

from __future__ import annotations

from pydantic import Field

from artifacts.errors import UserError
from pipelines.stages.base import StageSettings, Surroundings


class DedupSettings(StageSettings):
    """Which sources win, and how much may go."""

    prefer: tuple[str, ...] = Field(
        default=(),
        description=(
            "sources whose copies stay before those of others, the most wanted first; before every "
            "column of keep"
        ),
    )
    max_removed_share: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description=(
            "share of a source's documents; a comparison that removes more of a source stops the "
            "run"
        ),
    )

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
                    field=f"{name}.prefer",
                    found=source,
                    allowed=allowed,
                    fix=fix,
                )
            if source in self.prefer[:place]:
                raise UserError(
                    "a source is preferred twice",
                    field=f"{name}.prefer",
                    found=source,
                    fix="name it once",
                )
        return self.prefer
