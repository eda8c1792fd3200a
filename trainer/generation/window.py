"""What a model sees of a prompt and of what it has said, and how the window moves.

A model that looks back ``context`` tokens sees the beginning of a prompt all the time, BOS or all
marks of a conversation, and of the rest the newest tokens. A prompt that is too long is seen with
as much of its end as there is room for. When what is said fills the window, the older half of what
need not stay leaves it at once, and what is in sight is read anew with positions from 0: so a cache
of keys holds for half a window, and a token costs two reads at most on the average.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from artifacts.errors import Setting, UserError
from trainer.generation.settings import GenerateSettings


class Prompt(NamedTuple):
    """Ids to go on from, of which the first ``kept`` stay in sight."""

    ids: Sequence[int]
    kept: int = 1

    def check(self, settings: GenerateSettings) -> None:
        """Raises: UserError when there is nothing to go on from, and when what is kept leaves no
        room in the context.
        """
        if not self.ids:
            raise UserError("nothing to continue", field="prompt", fix="begin with BOS")
        context = settings.context
        if context == 1:
            raise UserError(
                "a model that looks back one token sees nothing but the first",
                parameter="context",
                found=1,
                allowed=["from 2"],
                fix=("give ", Setting("context"), " another value, or leave it out"),
            )
        if context is not None and self.kept >= context:
            raise UserError(
                "the prompt fills all that the model looks back",
                parameter="prompt",
                found=f"{self.kept} tokens",
                allowed=[f"up to {context - 1} tokens"],
                fix=("shorten it, or give ", Setting("context", self.kept + settings.tokens)),
            )


class Window:
    """The tokens of a row that are in sight, and which of them were read."""

    def __init__(self, prompt: Prompt, context: int | None) -> None:
        self._kept, self._context = prompt.kept, context
        self._tokens = len(prompt.ids)
        self._ids = list(in_sight(prompt.ids, prompt.kept, context))
        self._read = 0

    @property
    def length(self) -> int:
        """Tokens in sight."""
        return len(self._ids)

    @property
    def unseen(self) -> int:
        """Tokens of the row that are not in sight."""
        return self._tokens - len(self._ids)

    @property
    def fresh(self) -> bool:
        """Whether nothing that is in sight was read."""
        return self._read == 0

    def pending(self) -> Sequence[int]:
        """Ids in sight that were not read."""
        return self._ids[self._read :]

    @property
    def ids(self) -> Sequence[int]:
        """What is in sight; it grows by what is said while nothing leaves."""
        return self._ids

    def read(self, tokens: int | None = None) -> None:
        """All that is in sight has been read, or so many tokens of it."""
        self._read = len(self._ids) if tokens is None else tokens

    def forget(self) -> None:
        """What was read holds no longer."""
        self._read = 0

    def add(self, token: int) -> None:
        """One token more."""
        self._tokens += 1
        self._ids.append(token)
        if self._context is not None and len(self._ids) > self._context:
            self._ids = list(halved(self._ids, self._kept))
            self.forget()


def in_sight(ids: Sequence[int], kept: int, context: int | None) -> Sequence[int]:
    """What a model that looks back ``context`` tokens sees of a prompt: the first ``kept`` ids,
    which are fewer, and the newest.
    """
    if context is None or len(ids) <= context:
        return ids
    return [*ids[:kept], *ids[kept - context :]]


def halved(ids: Sequence[int], kept: int) -> Sequence[int]:
    """The first ``kept`` ids, and the newer half of the others, at least one."""
    return [*ids[:kept], *ids[-max(1, (len(ids) - kept) // 2) :]]
