"""Which steps of a training count as updates of its optimizer, and how many have counted so far.

    rule 2    a step counts where any tensor has a gradient: where its batch has a target
    rule 1    in bf16 and on a GPU every step counts; in fp32 on a CPU those of rule 2

The count is t of AdamW's corrections for moments that start at zero, 1 - b^t; it is one for all
tensors. A step without a gradient leaves weights and moments as they are. A checkpoint that records
no count was made under rule 1, and its count is its step. A training keeps the rule that it began
with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

OPTIMIZER_RULE: Final = 2
"""What a training that begins now counts by."""


@dataclass(frozen=True)
class UpdateCount:
    """The rule of a training's optimizer and the updates that have counted. Raises: ValueError for
    a negative number.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # for a checkpoint's record

    rule: Literal[1, 2] = OPTIMIZER_RULE
    updates: int = 0

    def __post_init__(self) -> None:
        if self.updates < 0:
            raise ValueError(f"{self.updates} updates")

    @property
    def counts_every_step(self) -> bool:
        """Whether steps without a gradient count in bf16 and on a GPU."""
        return self.rule == 1
