"""The command ``chat``: a conversation with a checkpoint."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.options import said_of_options
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


@said_of_options({"text": "system"})
def chat(
    checkpoint: Annotated[str, typer.Argument(help="folder of a checkpoint")],
    system: Annotated[
        str | None, typer.Option(help="what the model is told first; it stays in sight")
    ] = None,
    tokens: Annotated[int, typer.Option(help="of an answer, how many at most")] = 256,
    temperature: Temperature = 0.0,
    top_k: TopK = None,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition_penalty: RepetitionPenalty = 1.0,
    seed: Seed = 1,
    context: LookBack = None,
) -> None:
    """Talk with a checkpoint, turn by turn, in the chat format it was trained on. Answers appear as
    they are written. Where the conversation no longer fits into what the model looks back, whole
    turns leave, oldest first, and each is said. Ctrl-C ends an answer, Ctrl-D the conversation;
    /help lists commands. Without a terminal every line of standard input is a turn.
    """
    from pipelines.commands.terminal.talk import Talk
    from trainer.checkpoints.checkpoint import load
    from trainer.checkpoints.recorded import trained_window
    from trainer.evaluation.generate import speaker
    from trainer.generation.chat import Conversation
    from trainer.generation.settings import GenerateSettings

    settings = GenerateSettings.asked(
        tokens=tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
        context=context,
    )
    found = load(checkpoint)
    window = context or trained_window(found)
    model, tokenizer = speaker(found)
    conversation = Conversation(
        tokenizer, window, room=min(tokens, max(1, window // 4)), system=system
    )
    note_idle_filters(settings)
    Talk(model, conversation, settings).run()
