"""The command ``generate``: a checkpoint goes on from prompts."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifacts.errors import UserError
from pipelines.commands.options import Json, print_json, said_of_options
from pipelines.commands.prompts import Asked, prompts_asked
from pipelines.commands.sampling import (
    LookBack,
    MinP,
    RepetitionPenalty,
    Seed,
    Temperature,
    TopK,
    TopP,
    note_idle_filters,
)
from pipelines.commands.terminal.shown import on_a_terminal, print_text

if TYPE_CHECKING:
    from tokenizer.encode import Tokenizer
    from trainer.evaluation.generate import Answer
    from trainer.generation.settings import GenerateSettings
    from trainer.generation.speak import Said

Prompts = Annotated[
    Path | None,
    typer.Option(
        "--prompts",
        help="file with a prompt on each line; of a file *.jsonl each line is an object with "
        "prompt, or with messages",
    ),
]


@said_of_options({"text": "prompt"})
def generate_text(
    checkpoint: Annotated[str, typer.Argument(help="folder of a checkpoint")],
    prompt: Annotated[
        list[str] | None, typer.Argument(help="texts to go on from", show_default=False)
    ] = None,
    prompts: Prompts = None,
    tokens: Annotated[int, typer.Option(help="how many at most")] = 64,
    temperature: Temperature = 0.0,
    top_k: TopK = None,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition_penalty: RepetitionPenalty = 1.0,
    stop: Annotated[
        list[str] | None,
        typer.Option(help="end before this text; may be repeated", show_default=False),
    ] = None,
    seed: Seed = 1,
    context: LookBack = None,
    batch: Annotated[int, typer.Option(help="how many prompts are answered at the same time")] = 16,
    chat: Annotated[
        bool, typer.Option("--chat", help="a prompt is a user's turn; the model answers")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let a checkpoint go on from one or more prompts. BOS, with --chat the whole prompt, stays in
    sight; what does not is said on standard error. A terminal shows a single answer as it is
    written, and control characters by their number; a file or a pipe gets the text as it is. --json
    prints an object for each prompt on a line of its own.
    """
    from trainer.checkpoints.checkpoint import load
    from trainer.checkpoints.recorded import trained_window
    from trainer.evaluation.generate import answers, speaker, told
    from trainer.generation.settings import GenerateSettings

    settings = GenerateSettings.asked(
        tokens=tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        stop=tuple(stop or ()),
        seed=seed,
        context=context,
        batch=batch,
    )
    asked = prompts_asked(prompt or (), prompts)
    found = load(checkpoint)
    settings = settings.model_copy(update={"context": context or trained_window(found)})
    model, tokenizer = speaker(found)
    starts = [_start(tokenizer, one, settings, chat) for one in asked]
    note_idle_filters(settings)
    if len(starts) == 1 and on_a_terminal() and not as_json:
        _show_as_it_comes(told(model, tokenizer, starts[0], settings), settings.context)
    else:
        _show_answers(asked, answers(model, tokenizer, starts, settings), settings.context, as_json)


def _start(
    tokenizer: Tokenizer, asked: Asked, settings: GenerateSettings, chat: bool
) -> str | list[int]:
    """What the model goes on from. Raises: UserError, of the prompt's place, when it cannot."""
    from trainer.evaluation.generate import chat_prompt, prompt_of

    start: str | list[int]
    try:
        if isinstance(asked.prompt, str):
            user = [{"role": "user", "content": asked.prompt}]
            start = chat_prompt(tokenizer, user) if chat else asked.prompt
        else:
            start = chat_prompt(tokenizer, asked.prompt)
        prompt_of(tokenizer, start, settings)
    except UserError as error:
        raise asked.placed(error) from None
    return start


def _show_as_it_comes(said: Iterable[Said], window: int | None) -> None:
    unseen = 0
    for one in said:
        print_text(one.text, end="")
        unseen = one.unseen
    print_text("")
    _note_unseen(unseen, window)


def _show_answers(
    asked: Sequence[Asked], answers: Iterable[Answer], window: int | None, as_json: bool
) -> None:
    for number, (one, answer) in enumerate(zip(asked, answers, strict=True), 1):
        if as_json:
            start = {"prompt" if isinstance(one.prompt, str) else "messages": one.prompt}
            said = {"text": answer.text, "tokens": answer.tokens, "ended": answer.ended}
            print_json({**start, **said, "unseen": answer.unseen})
        elif len(asked) == 1:
            print_text(answer.text)
            _note_unseen(answer.unseen, window)
        else:
            print_text(f"== {number}\n{answer.text}")
            _note_unseen(answer.unseen, window, f"prompt {number}: ")


def _note_unseen(unseen: int, window: int | None, of: str = "") -> None:
    if unseen:
        note = f"note: {of}the model looks back {window:,} tokens; {unseen:,} that came before its"
        print(
            f"{note} last one were out of its sight (--context looks back further)", file=sys.stderr
        )
