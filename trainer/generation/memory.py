"""What a model has read of a conversation, so that its next turn reads what is new alone.

    memory = Memory(model)
    speak(model, [first], settings, ends, memory=memory)
    speak(model, [second], settings, ends, memory=memory)    # what begins alike is not read anew

Kept are the keys and values of one row and the ids that they belong to. What a prompt begins with
and was read is not read again; where it differs, as when turns have left the window, the rest is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from trainer.generation.window import Window
from trainer.model import Model
from trainer.model.cache import Cache

ROW = 0
"""The number of the row in the cache; there is no other."""


class Memory:
    """A cache of one row, and whose ids it holds."""

    def __init__(self, model: Model) -> None:
        weight = next(model.parameters())
        self.cache = Cache(model.config, weight.device, weight.dtype)
        self.cache.add()
        self._ids: Sequence[int] = ()

    def recall(self, window: Window) -> None:
        """Leave out of what a window has to read what was read before; its last token is read
        always, since what comes next is said of it.
        """
        known = self.cache.lengths[ROW]
        if not self.cache.keeps(known):  # positions had other angles
            known = 0
        pairs = zip(window.ids[:-1], self._ids[:known], strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self.cache.cut(ROW, same)
        window.read(same)

    def keep(self, window: Window) -> None:
        """The row has read what is in sight of a window."""
        self._ids = window.ids
