"""A model of ours as lm-evaluation-harness speaks to models.

    asked = HarnessModel(model, tokenizer, window=256)
    asked.loglikelihood(requests), asked.generate_until(requests)

Text is encoded by our own encoder, BOS first, so nothing in it can forge a mark. What does not fit
into ``window`` tokens is cut at its beginning, as the harness's own class for Hugging Face models
does, and counted in ``cut``. A text to be predicted as a whole is read in the windows of
:mod:`trainer.evaluation.text_loss`, one BOS first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from lm_eval.api.model import TemplateLM

from artifacts.errors import UserError
from tokenizer.encode import Tokenizer
from trainer.evaluation.generate import answers
from trainer.evaluation.harness.fit import fitted
from trainer.evaluation.tasks.likelihoods import Request, likelihoods
from trainer.evaluation.text_loss import text_losses
from trainer.evaluation.window import check_window
from trainer.generation.chat import chat_prompt
from trainer.generation.settings import GenerateSettings
from trainer.model import Model

DRAWN = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
"""What a task may say of how text is drawn, beside ``until``, ``max_gen_toks``, ``do_sample``."""


class HarnessModel(TemplateLM):  # type: ignore[misc]
    """Model and tokenizer for the harness. ``window``: tokens that are read at once.

    ``cut``: requests of which the beginning did not fit; ``shortened``: answers that could not be
    as long as the task allows.
    """

    max_gen_toks = 256  # of a task that does not say; the harness's own number

    def __init__(self, model: Model, tokenizer: Tokenizer, window: int) -> None:
        super().__init__()
        check_window(window)
        self.model, self._text, self.max_length = model, tokenizer, window
        self.cut = self.shortened = 0
        self._chats: dict[str, list[int]] = {}

    @property
    def eot_token_id(self) -> int:
        return self._text.eos_id

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text of which nothing else is known."""
        return self._text.bos_id

    @property
    def tokenizer_name(self) -> str:
        return self._text.hash

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Ids of a text, BOS first unless ``add_special_tokens`` is False."""
        return self._encoded([string], bos=add_special_tokens is not False)[string]

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Nats of each continuation after its context, and whether it is the likeliest."""
        pairs = [_parted(*request.args) for request in requests]
        texts = self._encoded(
            [text for context, following in pairs for text in (context, context + following)]
        )
        alone = self._encoded([following for _, following in pairs], bos=False)
        asked = []
        for context, following in pairs:
            ids = self._chats.get(context)
            if ids is None:
                ids, whole = texts[context], texts[context + following]
                own = whole[len(ids) :] or alone[following]
            else:
                own = alone[following]
            asked.append(((context, following), ids, own))
        found: list[tuple[float, bool]] = self._loglikelihood_tokens(asked)
        return found

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[tuple[str, str], list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        for texts, _, following in requests:
            if not following:
                raise UserError(
                    "an answer to choose from is empty",
                    found=f"after {texts[0][-40:]!r}",
                    fix="take the record out of the file",
                )
        asked = [Request(tuple(context), tuple(own)) for _, context, own in requests]
        kept = [fitted(request, self.max_length) for request in asked]
        self.cut += sum(one != whole for one, whole in zip(kept, asked, strict=True))
        found = likelihoods(self.model, kept)
        return list(zip(found.nats.tolist(), found.greedy.tolist(), strict=True))

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Nats of each text as a whole."""
        texts = [request.args[0] for request in requests]
        losses = text_losses(self.model, self._text, texts, self.max_length)
        return [-loss.nats for loss in losses]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What is said after each context. Requests that say how alike are answered together."""
        contexts = self._encoded([request.args[0] for request in requests])
        alike: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            alike.setdefault(json.dumps(request.args[1], sort_keys=True), []).append(place)
        said: dict[int, str] = {}
        for how, places in alike.items():
            asked = json.loads(how)
            tokens = _tokens(asked, self.max_gen_toks)
            if tokens >= self.max_length:
                tokens = max(1, self.max_length // 2)
                self.shortened += len(places)
            settings, room = _settings(asked, tokens), self.max_length - tokens
            prompts = {}
            for place in places:
                context = requests[place].args[0]
                ids = self._chats.get(context) or contexts[context]
                self.cut += len(ids) > room
                prompts[place] = ids[-room:]
            order = sorted(places, key=lambda place: -len(prompts[place]))  # less is padded so
            told = answers(self.model, self._text, [prompts[place] for place in order], settings)
            said |= {place: answer.text for place, answer in zip(order, told, strict=True)}
        return [said[place] for place in range(len(requests))]

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A name for a conversation, whose ids are made here, mark by mark, and remembered.

        The harness hands texts around. The ids of a conversation cannot be had from a text in which
        content could spell a mark, so the text is the conversation as JSON.
        """
        begun = [] if add_generation_prompt else chat_history[-1:]
        turns = chat_history[: len(chat_history) - len(begun)]
        ids = chat_prompt(self._text, turns)
        for message in begun:
            ids += self._text.encode_text(message["content"])
        name = json.dumps([*map(dict, chat_history)], ensure_ascii=False)
        self._chats[name] = ids
        return name

    def _encoded(self, texts: Iterable[str], bos: bool = True) -> dict[str, list[int]]:
        """Ids of all different texts."""
        distinct = list(dict.fromkeys(texts))
        first = [self._text.bos_id] if bos else []
        rows = self._text.encode(pa.array(distinct, pa.large_string())).to_pylist()
        return {text: first + ids for text, ids in zip(distinct, rows, strict=True)}


def _parted(context: str, continuation: str) -> tuple[str, str]:
    """White space that ends a context begins what follows it, as pieces of words have it."""
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation


def _tokens(asked: dict[str, Any], usual: int) -> int:
    """How many tokens a task allows an answer, by any of the names that tasks use."""
    names = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
    given = [asked.pop(name) for name in names if name in asked]
    return int(next((value for value in given if value is not None), usual))


def _settings(asked: dict[str, Any], tokens: int) -> GenerateSettings:
    """How text is drawn, as a task asks. Raises: UserError where a task asks what there is not."""
    until = asked.pop("until", None) or []
    stops = [until] if isinstance(until, str) else until
    drawn = asked.pop("do_sample", None)
    values = {name: asked.pop(name) for name in DRAWN if name in asked}
    if asked:
        raise UserError(
            "a task asks for a way of generating that there is not",
            field="generation_kwargs",
            found=", ".join(asked),
            allowed=["until", "max_gen_toks", "do_sample", *DRAWN],
        )
    if drawn is False or not values.get("temperature"):
        values["temperature"] = 1.0 if drawn else 0.0
    return GenerateSettings.asked(tokens=tokens, stop=tuple(filter(None, stops)), **values)
