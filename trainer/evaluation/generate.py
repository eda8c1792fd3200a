"""Let a checkpoint go on from prompts, answer questions, and say it piece by piece.

    model, tokenizer = speaker("runs/quickstart/checkpoints/step-00000375")
    generate(model, tokenizer, ["Once upon a time"], GenerateSettings(tokens=40))
    messages = [{"role": "user", "content": "What is 2 + 3?"}]
    for piece in stream(model, tokenizer, chat_prompt(tokenizer, messages)):
        print(piece, end="", flush=True)

The same seed gives the same text. Each prompt draws from a generator of its own, so an answer does
not depend on the prompts beside it. How it is done is in :mod:`trainer.generation`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tokenizer.encode import Tokenizer
from trainer.checkpoints.checkpoint import TOKENIZER, Checkpoint, load
from trainer.checkpoints.weights import model_of
from trainer.devices.precision import device_of
from trainer.generation.chat import chat_prompt
from trainer.generation.pieces import Pieces
from trainer.generation.sampling import pick
from trainer.generation.settings import GenerateSettings
from trainer.generation.speak import Ended, Said, speak
from trainer.generation.window import Prompt, in_sight
from trainer.model import Model

__all__ = [
    "Answer",
    "GenerateSettings",
    "answer",
    "answers",
    "chat_prompt",
    "continuation",
    "generate",
    "in_sight",
    "pick",
    "prompt_of",
    "speaker",
    "stream",
    "told",
]


@dataclass(frozen=True)
class Answer:
    """What was said after a prompt. ``unseen``: how many tokens before the last one, of prompt and
    answer, were out of the model's sight when it said that. ``tokens``: how many it said.
    ``ended``: by ``end``, the document's, a ``stop`` string, or the number of ``tokens``.
    """

    text: str
    unseen: int
    tokens: int
    ended: Ended


def speaker(
    checkpoint: Checkpoint | str | os.PathLike[str], device: str = "auto"
) -> tuple[Model, Tokenizer]:
    """Model, in fp32 on a :func:`~trainer.devices.precision.device_of`, and tokenizer of a
    checkpoint. Raises: UserError when it is damaged.
    """
    found = checkpoint if isinstance(checkpoint, Checkpoint) else load(checkpoint)
    return model_of(found, device_of(device)), Tokenizer.load(found.read(TOKENIZER))


def generate(
    model: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[str | Sequence[int]],
    settings: GenerateSettings | None = None,
) -> list[str]:
    """What the model says after each prompt, up to the document's end: the texts of
    :func:`answers`.
    """
    return [one.text for one in answers(model, tokenizer, prompts, settings)]


def answer(
    model: Model,
    tokenizer: Tokenizer,
    prompt: str | Sequence[int],
    settings: GenerateSettings | None = None,
) -> Answer:
    """What the model says after one prompt, as :func:`answers` has it."""
    (only,) = answers(model, tokenizer, [prompt], settings)
    return only


def answers(
    model: Model,
    tokenizer: Tokenizer,
    prompts: Iterable[str | Sequence[int]],
    settings: GenerateSettings | None = None,
    first: int = 0,
) -> Iterator[Answer]:
    """What the model says after each prompt, in their order: a text, which begins a document, or
    ids such as :func:`chat_prompt` makes. The prompt is not repeated.

    ``settings.batch`` of them are answered at the same time, and an answer is given as soon as it
    and those before it are there. ``first``: the number of the first prompt, from which with the
    seed it draws. Of a text BOS stays in sight, of ids all. Raises: UserError,
    before anything is said, when these leave no room for a token more in ``settings.context``, and
    when a text is not Unicode.
    """
    chosen = settings or GenerateSettings()
    asked = [prompt_of(tokenizer, prompt, chosen) for prompt in prompts]
    return _answers(model, tokenizer, asked, chosen, first)


def stream(
    model: Model,
    tokenizer: Tokenizer,
    prompt: str | Sequence[int],
    settings: GenerateSettings | None = None,
) -> Iterator[str]:
    """The text of :func:`answer` in pieces, as soon as they can be shown: whole characters, and
    nothing of a stop string. Raises as that does, before the first piece.
    """
    spoken = told(model, tokenizer, prompt, settings or GenerateSettings())
    return (said.text for said in spoken if said.text)


def told(
    model: Model, tokenizer: Tokenizer, prompt: str | Sequence[int], settings: GenerateSettings
) -> Iterator[Said]:
    """The tokens of :func:`answer` as they are said, each with the text that can be shown then."""
    asked = prompt_of(tokenizer, prompt, settings)
    ends, pieces = {tokenizer.eos_id}, _pieces(tokenizer, settings)
    return speak(model, [asked], settings, ends, pieces, ids=tokenizer.vocab_size)


def prompt_of(
    tokenizer: Tokenizer, prompt: str | Sequence[int], settings: GenerateSettings
) -> Prompt:
    """A text, of which BOS stays in sight, or ids, of which all do. Raises: UserError when it
    cannot be continued.
    """
    if isinstance(prompt, str):
        asked = Prompt([tokenizer.bos_id, *tokenizer.encode_text(prompt)], kept=1)
    else:
        asked = Prompt(list(prompt), kept=len(prompt))
    asked.check(settings)
    return asked


def continuation(
    model: Model, prompt: Sequence[int], eos: int, settings: GenerateSettings, kept: int = 1
) -> list[int]:
    """The ids after a prompt, EOS left out; stop strings are not looked for. ``kept``: its first
    ids, which stay in sight.

    Raises: UserError when the prompt is empty, when what is kept fills the context, and when the
    model's scores are not finite.
    """
    spoken = speak(model, [Prompt(prompt, kept)], settings, {eos})
    return [said.token for said in spoken if said.token is not None]


def _answers(
    model: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    settings: GenerateSettings,
    first: int,
) -> Iterator[Answer]:
    ends, pieces = {tokenizer.eos_id}, _pieces(tokenizer, settings)
    begun = dict.fromkeys(range(first, first + len(prompts)), ("", 0))
    ready: dict[int, Answer] = {}
    following = first
    for said in speak(model, prompts, settings, ends, pieces, first, tokenizer.vocab_size):
        text, tokens = begun[said.prompt]
        text, tokens = text + said.text, tokens + (said.token is not None)
        begun[said.prompt] = text, tokens
        if said.ended:
            ready[said.prompt] = Answer(text, said.unseen, tokens, said.ended)
        while following in ready:
            yield ready.pop(following)
            following += 1


def _pieces(tokenizer: Tokenizer, settings: GenerateSettings) -> Callable[[int], Pieces]:
    return lambda before: Pieces(tokenizer, settings.stop, before)
