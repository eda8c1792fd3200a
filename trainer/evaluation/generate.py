"""Continue a text: the whole context through the model for every new token, no cache.

    model, tokenizer = speaker("runs/quickstart/checkpoints/step-00000375")
    generate(model, tokenizer, ["Once upon a time"], GenerateSettings(tokens=40))
    messages = [{"role": "user", "content": "What is 2 + 3?"}]
    generate(model, tokenizer, [chat_prompt(tokenizer, messages)])

Meant for looking at small models. The same seed gives the same text; each prompt draws from its own
generator, so its answer does not depend on the prompts beside it.

A model that looks back ``context`` tokens sees the beginning of the text all the time, BOS or all
marks of a conversation, and of the rest the newest tokens. What went out of its sight is counted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError

from artifacts.errors import Setting, UserError
from artifacts.records import Record
from tokenizer.chat import MARKS
from tokenizer.encode import Tokenizer
from tokenizer.tool_calls import spoken
from trainer.checkpoints.checkpoint import TOKENIZER, Checkpoint, load
from trainer.checkpoints.weights import model_of
from trainer.devices.precision import device_of
from trainer.model import Model


class GenerateSettings(Record):
    """``tokens``: how many at most. ``temperature`` 0 takes the likeliest token each time;
    ``top_p`` keeps the likeliest tokens that make up this probability. ``context``: tokens the
    model looks back, at best :func:`trained_window`; None for all there are.
    """

    tokens: Annotated[int, Field(ge=1, description="a whole number from 1")] = 64
    temperature: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description="a finite number from 0")
    ] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1, description="a number above 0, up to 1")] = 1.0
    seed: Annotated[
        int, Field(ge=0, lt=1 << 63, description=f"a whole number from 0 to {(1 << 63) - 1}")
    ] = 1
    context: Annotated[
        int | None, Field(ge=1, description="a whole number from 1, or nothing for all")
    ] = None

    @classmethod
    def asked(cls, **values: Any) -> GenerateSettings:
        """Settings that a user asked for. Raises: UserError naming the first that is not valid."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            known = cls.model_fields.get(name)
            raise UserError(
                "a text cannot be generated so",
                parameter=name,
                found=first["input"],
                allowed=[known.description] if known else sorted(cls.model_fields),
                fix=("give ", Setting(name), " another value, or leave it out"),
            ) from None


@dataclass(frozen=True)
class Answer:
    """What was said after a prompt. ``unseen``: how many tokens before the last one, of prompt and
    answer, were out of the model's sight when it said that.
    """

    text: str
    unseen: int


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
    :func:`answer`.
    """
    return [answer(model, tokenizer, prompt, settings).text for prompt in prompts]


def answer(
    model: Model,
    tokenizer: Tokenizer,
    prompt: str | Sequence[int],
    settings: GenerateSettings | None = None,
) -> Answer:
    """What the model says after a prompt: a text, which begins a document, or ids such as
    :func:`chat_prompt` makes. The prompt is not repeated.

    Of a text BOS stays in sight, of ids all. Raises: UserError when these leave no room for a
    token more in ``settings.context``, and when a text is not Unicode.
    """
    chosen = settings or GenerateSettings()
    if isinstance(prompt, str):
        ids, kept = [tokenizer.bos_id, *tokenizer.encode_text(prompt)], 1
    else:
        ids, kept = list(prompt), len(prompt)
    said = continuation(model, ids, tokenizer.eos_id, chosen, kept)
    seen = len(ids) + min(len(said), chosen.tokens - 1)
    return Answer(
        tokenizer.decode_tokens(said, controls=False), max(0, seen - (chosen.context or seen))
    )


def chat_prompt(tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """Ids of a conversation up to the place where the assistant answers, BOS first.

    ``messages``: role and content each, of an answer also ``tool_calls`` as documents have them.
    Answers end with EOS and the next turn follows in the same
    document, as in training.
    Raises: UserError for an unknown role or a tokenizer without the chat marks.
    """
    ids = [tokenizer.bos_id]
    for message in messages:
        said = spoken(message["content"], message.get("tool_calls"))
        ids += [_mark(tokenizer, message["role"]), *tokenizer.encode_text(said)]
        if message["role"] == "assistant":
            ids.append(tokenizer.eos_id)
    return [*ids, _mark(tokenizer, "assistant")]


@torch.inference_mode()
def continuation(
    model: Model, prompt: Sequence[int], eos: int, settings: GenerateSettings, kept: int = 1
) -> list[int]:
    """The ids after a prompt, EOS left out. ``kept``: its first ids, which stay in sight.

    Raises: UserError when the prompt is empty, when what is kept fills the context, and when the
    model's scores are not finite.
    """
    if not prompt:
        raise UserError("nothing to continue", field="prompt", fix="begin with BOS")
    if settings.context == 1:
        raise UserError(
            "a model that looks back one token sees nothing but the first",
            parameter="context",
            found=1,
            allowed=["from 2"],
            fix=("give ", Setting("context"), " another value, or leave it out"),
        )
    if settings.context is not None and kept >= settings.context:
        raise UserError(
            "the prompt fills all that the model looks back",
            parameter="prompt",
            found=f"{kept} tokens",
            allowed=[f"up to {settings.context - 1} tokens"],
            fix=("shorten it, or give ", Setting("context", kept + settings.tokens)),
        )
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(settings.seed)
    ids = list(prompt)
    for _ in range(settings.tokens):
        tokens = torch.tensor([in_sight(ids, kept, settings.context)], device=device)  # (1, t)
        positions = torch.arange(tokens.shape[1], device=device)[None]
        scores = model.logits(model(tokens, positions)[0, -1]).float().cpu()  # (V,)
        token = pick(scores, settings, generator)
        if token == eos:
            break
        ids.append(token)
    return ids[len(prompt) :]


def in_sight(ids: Sequence[int], kept: int, context: int | None) -> Sequence[int]:
    """What a model that looks back ``context`` tokens sees: the first ``kept`` ids, which are
    fewer, and the newest.
    """
    if context is None or len(ids) <= context:
        return ids
    return [*ids[:kept], *ids[kept - context :]]


def pick(scores: torch.Tensor, settings: GenerateSettings, generator: torch.Generator) -> int:
    """The next token by its scores (V,). Raises: UserError when one is not finite."""
    if not bool(torch.isfinite(scores).all()):
        raise UserError(
            "the model's scores are not finite",
            found=f"{int((~torch.isfinite(scores)).sum())} of {len(scores)}",
            fix="take an earlier checkpoint",
        )
    if settings.temperature == 0:
        return int(scores.argmax())
    warmed = scores.double() / settings.temperature
    if not bool(torch.isfinite(warmed).all()):  # the temperature is next to nothing
        warmed = (scores.double() - scores.max()) / settings.temperature
    chances, order = torch.softmax(warmed, -1).sort(descending=True, stable=True)
    before = chances.cumsum(-1) - chances
    chances = torch.where(before < settings.top_p, chances, 0.0)
    return int(order[torch.multinomial(chances, 1, generator=generator)])


def _mark(tokenizer: Tokenizer, role: str) -> int:
    if role not in MARKS:
        raise UserError("no such role", field="messages.role", found=role, allowed=MARKS)
    mark = tokenizer.control_id(MARKS[role])
    if mark is None:
        raise UserError(
            "the tokenizer has no such chat mark as a control piece",
            field=f"messages.role={role}",
            found=MARKS[role],
            fix="train the tokenizer with its chat marks",
        )
    return mark
