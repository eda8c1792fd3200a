"""How long the blocks of a source are, and how many are mixed at a time.

Long blocks are read from one end to the other; several that are open mix what lies far apart. Both
numbers are pinned in the plan: another rule here changes no plan that is frozen.
"""

from __future__ import annotations

BLOCK_TOKENS = 1 << 24
LEAST_BLOCKS = 8
OPEN_BLOCKS = 4
OPEN_TOKENS = OPEN_BLOCKS * BLOCK_TOKENS


def block_tokens(tokens: int, window: int) -> int:
    """Tokens per block: the most that leave :data:`LEAST_BLOCKS` blocks, a power of two of windows,
    at most :data:`BLOCK_TOKENS`.

    With a window of a power of two of tokens a block is one too. At least a window.
    """
    most = max(1, min(BLOCK_TOKENS, tokens // LEAST_BLOCKS) // window)
    return window << (most.bit_length() - 1)


def open_blocks(tokens: int, small: int = OPEN_TOKENS) -> int:
    """Blocks that are mixed at a time: every block of a source of up to ``small`` tokens, else
    :data:`OPEN_BLOCKS`.

    A block is more than half of what :func:`block_tokens` aims at, whatever the window, so this
    many are never fewer than there are.
    """
    return max(2 * LEAST_BLOCKS, -(-2 * tokens // BLOCK_TOKENS)) if tokens <= small else OPEN_BLOCKS
