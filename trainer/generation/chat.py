"""Conversations as prompts: by ids, so that no content can forge a mark, and within a window.

    conversation = Conversation(tokenizer, window=256, room=64, system="Be brief.")
    question = conversation.ask("What is 2 + 3?")
    question.ids         # the prompt, up to the place where the assistant answers
    question.left        # turns that the model no longer sees: the window has no room for them
    conversation.answered(question, ids)

What was said stays as the ids it was said in; nothing is encoded twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from artifacts.errors import Setting, UserError
from tokenizer.chat import MARKS
from tokenizer.encode import Tokenizer
from tokenizer.tool_calls import spoken
from trainer.generation.window import Prompt


class Turn(NamedTuple):
    """A question with its answer. ``number`` counts from 1."""

    number: int
    ids: Sequence[int]


class Question(NamedTuple):
    """``ids``: the whole prompt. ``own``: those of the question, up to the mark of the answer.
    ``left``: turns that went out of sight for it, oldest first.
    """

    number: int
    ids: Sequence[int]
    own: Sequence[int]
    left: Sequence[Turn]

    @property
    def prompt(self) -> Prompt:
        """All of it stays in sight."""
        return Prompt(self.ids, kept=len(self.ids))


class Conversation:
    """What was said, as far as it fits into ``window`` tokens with ``room`` for an answer.

    The system prompt stays in sight. Whole turns leave, from the oldest on. Raises: UserError for
    a tokenizer without the chat marks, and where the system prompt leaves no room.
    """

    def __init__(
        self, tokenizer: Tokenizer, window: int, room: int, system: str | None = None
    ) -> None:
        self.tokenizer, self.window, self.room = tokenizer, window, room
        self._head = [tokenizer.bos_id]
        if system is not None:
            self._head += said(tokenizer, {"role": "system", "content": system})
        self._marks = [mark_of(tokenizer, role) for role in ("user", "assistant")]
        self.reset()
        if self._free([*self._marks, tokenizer.eos_id]) < room:
            raise UserError(
                "there is no room for a conversation in what the model looks back",
                parameter="context" if system is None else "system",
                found=f"{len(self._head)} tokens of {window} are taken before it begins",
                fix=("shorten it, or give ", Setting("context", 2 * len(self._head) + 4 * room)),
            )

    def reset(self) -> None:
        """Begin anew: nothing was said."""
        self._turns: list[Turn] = []
        self._asked = 0

    @property
    def ends(self) -> frozenset[int]:
        """Ids at which an answer ends: EOS, BOS and every mark."""
        marks = (self.tokenizer.control_id(mark) for mark in MARKS.values())
        known = {mark for mark in marks if mark is not None}
        return frozenset({self.tokenizer.eos_id, self.tokenizer.bos_id, *known})

    def ask(self, content: str) -> Question:
        """The prompt for a question; what has to make room for it leaves.

        Raises: UserError when the question leaves no room for an answer, however much leaves, and
        when it is not Unicode; then nothing has changed.
        """
        own = [*said(self.tokenizer, {"role": "user", "content": content}), self._marks[1]]
        most = self.window - self.room - len(self._head)
        if len(own) > most:
            raise UserError(
                "this leaves no room for an answer in what the model looks back",
                parameter="text",
                found=f"{len(own)} tokens",
                allowed=[f"up to {most} tokens"],
                fix=("shorten it, or give ", Setting("context", self.window + len(own) - most)),
            )
        left = []
        while self._free(own) < self.room:
            left.append(self._turns.pop(0))
        self._asked += 1
        history = [token for turn in self._turns for token in turn.ids]
        return Question(self._asked, [*self._head, *history, *own], own, left)

    def answered(self, question: Question, answer: Sequence[int]) -> None:
        """Keep what was said to a question; EOS, which closes it, is not among ``answer``."""
        turn = [*question.own, *answer, self.tokenizer.eos_id]
        self._turns.append(Turn(question.number, turn))

    def _free(self, own: Sequence[int]) -> int:
        """Tokens that the window has left for an answer to a question."""
        taken = sum(len(turn.ids) for turn in self._turns)
        return self.window - len(self._head) - taken - len(own)


def chat_prompt(tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """Ids of a conversation up to the place where the assistant answers, BOS first.

    ``messages``: role and content each, of an answer also ``tool_calls`` as documents have them.
    Answers end with EOS and the next turn follows in the same
    document, as in training.
    Raises: UserError for an unknown role or a tokenizer without the chat marks.
    """
    ids = [token for message in messages for token in said(tokenizer, message)]
    return [tokenizer.bos_id, *ids, mark_of(tokenizer, "assistant")]


def said(tokenizer: Tokenizer, message: Mapping[str, Any]) -> list[int]:
    """Ids of one message, its mark first; an answer ends with EOS."""
    text = spoken(message["content"], message.get("tool_calls"))
    ids = [mark_of(tokenizer, message["role"]), *tokenizer.encode_text(text, after_mark=True)]
    return [*ids, tokenizer.eos_id] if message["role"] == "assistant" else ids


def mark_of(tokenizer: Tokenizer, role: str) -> int:
    """Id of a role's mark. Raises: UserError where there is none."""
    if role not in MARKS:
        raise UserError("no such role", field="messages.role", found=role, allowed=MARKS)
    mark = tokenizer.control_id(MARKS[role])
    if mark is None:
        raise UserError(
            "the tokenizer has no such chat mark as a control piece",
            field=f"messages.role={role}",
            found=f"none named {MARKS[role]}",
            fix="take a model whose tokenizer was trained with chat marks",
        )
    return mark
