"""Continue a text: the whole context through the model for every new token, no cache.

    model, tokenizer = speaker("runs/quickstart/checkpoints/step-00000375")
    generate(model, tokenizer, ["Once upon a time"], GenerateSettings(tokens=40))
    messages = [{"role": "user", "content": "What is 2 + 3?"}]
    generate(model, tokenizer, [chat_prompt(tokenizer, messages)])

Meant for looking at small models. The same seed gives the same text; each prompt draws from its own
generator, so its answer does not depend on the prompts beside it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field

from artifacts.errors import UserError
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
    model looks back, at best the window it was trained with.
    """

    tokens: Annotated[int, Field(ge=1)] = 64
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    context: Annotated[int, Field(ge=1)] = 256


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
    """What the model says after each prompt, up to the document's end.

    Prompts are texts, or ids such as :func:`chat_prompt` makes; texts begin a document. The prompt
    is not repeated.
    """
    chosen = settings or GenerateSettings()
    texts = []
    for prompt in prompts:
        ids = (
            [tokenizer.bos_id, *tokenizer.encode_text(prompt)]
            if isinstance(prompt, str)
            else list(prompt)
        )
        texts.append(
            tokenizer.decode_tokens(
                continuation(model, ids, tokenizer.eos_id, chosen), controls=False
            )
        )
    return texts


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
    model: Model, prompt: Sequence[int], eos: int, settings: GenerateSettings
) -> list[int]:
    """The ids after a prompt, EOS left out. Raises: UserError when the prompt is empty."""
    if not prompt:
        raise UserError("nothing to continue", field="prompt", fix="begin with BOS")
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(settings.seed)
    ids = list(prompt)
    for _ in range(settings.tokens):
        tokens = torch.tensor([ids[-settings.context :]], device=device)  # (1, t)
        positions = torch.arange(tokens.shape[1], device=device)[None]
        scores = model.logits(model(tokens, positions)[0, -1]).float().cpu()  # (V,)
        token = pick(scores, settings, generator)
        if token == eos:
            break
        ids.append(token)
    return ids[len(prompt) :]


def pick(scores: torch.Tensor, settings: GenerateSettings, generator: torch.Generator) -> int:
    """The next token by its scores (V,)."""
    if settings.temperature == 0:
        return int(scores.argmax())
    chances, order = torch.softmax(scores.double() / settings.temperature, -1).sort(
        descending=True, stable=True
    )
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
