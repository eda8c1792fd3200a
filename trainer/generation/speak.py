"""The loop: every row that is not at its end reads what it has not read and says a token more.

    for said in speak(model, prompts, settings, ends={tokenizer.eos_id}):
        said.prompt, said.token, said.ended

Rows of one pass have different lengths. One that ends leaves the batch and the next prompt takes
its place, so what is computed is what is asked for. An answer depends on the prompts beside it by
roundings alone; on a CPU in fp32 these have changed no text in the tests, on a GPU they may.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from trainer.generation.memory import Memory
from trainer.generation.pieces import Pieces
from trainer.generation.sampling import check_finite, generator_of, pick_each
from trainer.generation.settings import GenerateSettings
from trainer.generation.window import Prompt, Window
from trainer.model import Model
from trainer.model.cache import Cache

Ended = Literal["end", "stop", "tokens"]

PADDED_TOKENS = 4096
"""Tokens, padding included, of which several prompts that are read together have no more."""


class Said(NamedTuple):
    """One token of an answer. ``prompt``: which prompt is answered. ``token`` is None where the
    answer ends with one of the ends; ``text``: what can be shown now. ``ended``: by an end, a stop
    string or the number of tokens, None while it goes on. ``unseen``: how many tokens before this
    one were out of the model's sight.
    """

    prompt: int
    token: int | None
    text: str
    ended: Ended | None
    unseen: int


def speak(
    model: Model,
    prompts: Iterable[Prompt],
    settings: GenerateSettings,
    ends: Collection[int],
    pieces: Callable[[int], Pieces] | None = None,
    first: int = 0,
    ids: int | None = None,
    memory: Memory | None = None,
) -> Iterator[Said]:
    """What is said after each prompt, token by token, of many prompts in turn.

    ``ends``: ids that end an answer and do not belong to it. ``pieces`` makes what turns an
    answer's tokens into text and finds stop strings, from the last id of its prompt; without it
    there is no text. ``first``: the number of the first prompt, which with the seed decides what it
    draws. ``ids``: only those below it are said; others' models have rows that no piece of theirs
    has. ``memory``: what was read before, of which a prompt that begins alike reads nothing again;
    prompts are answered one by one then.

    Raises: UserError for a prompt that cannot be continued, before it is read, and for scores that
    are not finite.
    """
    batch = _Batch(model, settings, ids, memory)
    waiting = enumerate(prompts, first)
    while True:
        with torch.inference_mode():  # not while the caller has a token
            batch.part()
            batch.fill(waiting, pieces)
            if not batch.rows:
                return
            tokens = batch.tokens()
        for row, token in zip(batch.rows, tokens, strict=True):
            yield row.say(token, ends)


class _Row:
    """A prompt and what is said after it. ``number``: which prompt of the call it is."""

    def __init__(
        self, number: int, prompt: Prompt, settings: GenerateSettings, pieces: Pieces | None
    ) -> None:
        self.number, self.pieces = number, pieces
        self.ids = list(prompt.ids)
        self.window = Window(prompt, settings.context)
        self.generator = generator_of(settings.seed, number)
        self.ended: Ended | None = None
        self._longest = len(prompt.ids) + settings.tokens

    def say(self, token: int, ends: Collection[int]) -> Said:
        """One token more."""
        unseen, text = self.window.unseen, ""
        if token in ends:
            self.ended = "end"
        else:
            self.ids.append(token)
            self.window.add(token)
            text = "" if self.pieces is None else self.pieces.add(token)
            self.ended = "tokens" if len(self.ids) == self._longest else None
        if self.pieces is not None:
            if self.ended:
                text += self.pieces.rest()
            if self.pieces.stopped:
                self.ended = "stop"
        return Said(self.number, None if token in ends else token, text, self.ended, unseen)


class _Batch:
    """Rows that speak at the same time; a row has the number in the cache that it has here."""

    def __init__(
        self, model: Model, settings: GenerateSettings, ids: int | None, memory: Memory | None
    ) -> None:
        self.model, self.settings, self.ids, self.memory = model, settings, ids, memory
        weight = next(model.parameters())
        self.cache = (
            Cache(model.config, weight.device, weight.dtype) if memory is None else memory.cache
        )
        self.rows: list[_Row] = []

    def fill(
        self, waiting: Iterator[tuple[int, Prompt]], pieces: Callable[[int], Pieces] | None
    ) -> None:
        """Let prompts in while there is room."""
        while len(self.rows) < (self.settings.batch if self.memory is None else 1):
            entry = next(waiting, None)
            if entry is None:
                return
            number, prompt = entry
            prompt.check(self.settings)
            text = None if pieces is None else pieces(prompt.ids[-1])
            self.rows.append(_Row(number, prompt, self.settings, text))
            if self.memory is None:
                self.cache.add()
            else:
                self.memory.recall(self.rows[-1].window)

    def tokens(self) -> list[int]:
        """The next token of each row."""
        scores = self.model.logits(self._hidden()).float().cpu()  # (B, V)
        check_finite(scores)
        scores = scores[:, : self.ids]
        generators = [row.generator for row in self.rows]
        return pick_each(scores, self.settings, generators, [row.ids for row in self.rows])

    def part(self) -> None:
        """Let rows go that have ended."""
        for place in reversed(range(len(self.rows))):
            if self.rows[place].ended:
                if self.memory is None:
                    self.cache.remove(place)
                last = self.rows.pop()
                if place < len(self.rows):
                    self.rows[place] = last

    def _hidden(self) -> Tensor:
        """Hidden states (B, D) of the rows' last tokens, after all that is in sight was read."""
        windows = [row.window for row in self.rows]
        for place, window in enumerate(windows):
            if not self.cache.keeps(window.length):
                window.forget()
            if window.fresh:
                self.cache.clear(place)
        pending = [window.pending() for window in windows]
        read = [
            (places, self.model.read(self.cache, places, [pending[place] for place in places]))
            for places in groups([len(ids) for ids in pending])
        ]
        for window in windows:
            window.read()
            if self.memory is not None:
                self.memory.keep(window)
        if len(read) == 1:
            return read[0][1]
        hidden = read[0][1].new_empty(len(windows), read[0][1].shape[1])
        for places, part in read:
            hidden[places] = part
        return hidden


def groups(counts: Sequence[int]) -> list[list[int]]:
    """Which rows read together: those with one token; of the others those of similar numbers, so
    that padding is less than what is read, and no more than :data:`PADDED_TOKENS` where it is more
    than one row.
    """
    if max(counts) == 1:
        return [list(range(len(counts)))]
    steps = [place for place, count in enumerate(counts) if count == 1]
    found = [steps] if steps else []
    longest = 0
    for place in sorted(range(len(counts)), key=lambda place: -counts[place]):
        if counts[place] == 1:
            break
        fits = longest and (len(found[-1]) + 1) * longest <= PADDED_TOKENS
        if fits and 2 * counts[place] > longest:
            found[-1].append(place)
        else:
            longest = counts[place]
            found.append([place])
    return [sorted(places) for places in found]
