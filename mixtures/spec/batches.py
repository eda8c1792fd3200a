"""The size of a batch: whole windows, and where that is said."""

from __future__ import annotations

from artifacts.errors import Address, UserError
from mixtures.sequences.chairman import LONGEST_RAMP
from mixtures.spec.phase import PhaseSpec

BATCH_TOKENS: Address = ("train", "batch_tokens")


def place_of_batch(phase: PhaseSpec) -> Address:
    """Where the size of a phase's batches is said: at the phase, where it has one of its own."""
    own = [name for name in ("batch_tokens", "sequence_length") if getattr(phase, name)]
    return (*phase.address, own[0]) if own else BATCH_TOKENS


def check_batch(sequence_length: int, batch_tokens: int, address: Address = BATCH_TOKENS) -> None:
    """Raises: UserError when a batch is not a whole number of windows, or too many; ``address``:
    where that is said.
    """
    if sequence_length < 1 or batch_tokens < sequence_length or batch_tokens % sequence_length:
        nearest = max(1, round(batch_tokens / max(1, sequence_length))) * max(1, sequence_length)
        raise UserError(
            "a batch is a whole number of windows",
            field=address,
            found=f"{batch_tokens} tokens for windows of {sequence_length}",
            fix=f"batch_tokens: {nearest} is {nearest // max(1, sequence_length)} windows",
        )
    if batch_tokens // sequence_length > LONGEST_RAMP:
        raise UserError(
            "too many windows in a batch",
            field=address,
            found=batch_tokens // sequence_length,
            allowed=[LONGEST_RAMP],
        )
