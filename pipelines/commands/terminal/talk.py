"""A conversation on a terminal, or over a pipe: lines in, answers out as they are written.

    Talk(model, conversation, settings).run()

A terminal has a prompt and, where Python has readline, a line that can be edited. Answers go to
standard output; all else that is said goes to standard error.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator

from artifacts.errors import Address, UserError
from pipelines.commands.terminal.shown import on_a_terminal, print_text
from trainer.generation.chat import Conversation, Question
from trainer.generation.memory import Memory
from trainer.generation.pieces import Pieces
from trainer.generation.settings import GenerateSettings
from trainer.generation.speak import Said, speak
from trainer.model import Model

PROMPT = "> "
COMMANDS = {
    "/help": "this list",
    "/reset": "forget what was said; the system prompt stays",
    "/exit": "end, as Ctrl-D does",
}
_COMMAND = re.compile(r"/\w+")


class Talk:
    """Reads turns until there are no more, and answers each."""

    def __init__(
        self, model: Model, conversation: Conversation, settings: GenerateSettings
    ) -> None:
        self.model, self.conversation, self.settings = model, conversation, settings
        self.memory = Memory(model)
        self.interactive = sys.stdin.isatty() and on_a_terminal()

    def run(self) -> None:
        """Until /exit or the end of the input."""
        if self.interactive:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401  (input() edits lines with it)
            say(f"the model looks back {self.conversation.window:,} tokens; /help lists commands")
        going_on = True
        while going_on:
            try:
                going_on = self._turn()
            except KeyboardInterrupt:  # as an answer ended by itself
                if not self.interactive:
                    raise

    def _turn(self) -> bool:
        """Read a line and answer it; whether another may follow."""
        line = self._line()
        if line is None or line.rstrip() == "/exit":
            return False
        self._take(line)
        return True

    def _take(self, line: str) -> None:
        if _COMMAND.fullmatch(line.rstrip()):
            self._obey(line.rstrip())
        elif text := line.strip():
            self._answer(text)

    def _line(self) -> str | None:
        """The next line, None at the end of the input."""
        while True:
            try:
                if self.interactive:
                    return input(PROMPT)
                line = sys.stdin.buffer.readline()
                return line.decode() if line else None
            except EOFError:
                print_text("")
                return None
            except UnicodeDecodeError:
                say("error: this line is not a text in UTF-8")
            except KeyboardInterrupt:
                if not self.interactive:
                    raise
                say("\nCtrl-D or /exit ends the conversation")

    def _obey(self, command: str) -> None:
        if command == "/reset":
            self.conversation.reset()
            say("all turns are forgotten")
            return
        if command not in COMMANDS:
            say(f"there is no {command}; a space before it makes it a message")
        for name, does in COMMANDS.items():
            say(f"  {name:8}{does}")

    def _answer(self, text: str) -> None:
        try:
            question = self.conversation.ask(text)
        except UserError as error:
            say(f"error: {error.relocated(_typed)}")
            return
        for turn in question.left:
            say(
                f"note: turn {turn.number} ({len(turn.ids):,} tokens) is out of the model's sight "
                f"from here on: it looks back {self.conversation.window:,} tokens"
            )
        answer: list[int] = []
        last = None
        try:
            for last in self._spoken(question):
                if last.token is not None:
                    answer.append(last.token)
                print_text(last.text, end="")
            print_text("")
        except KeyboardInterrupt:
            print_text("")
            say("note: the answer was ended here")
        finally:
            self.conversation.answered(question, answer)
        if last is not None and last.ended == "tokens":
            self._note_length(question, len(answer))

    def _spoken(self, question: Question) -> Iterator[Said]:
        """The tokens of an answer, of which there are no more than fit into the window."""
        window = self.conversation.window
        room = min(self.settings.tokens, window - len(question.ids))
        return speak(
            self.model,
            [question.prompt],
            self.settings.model_copy(update={"tokens": room, "context": window}),
            self.conversation.ends,
            lambda before: Pieces(self.conversation.tokenizer, before=before),
            first=question.number - 1,
            memory=self.memory,
        )

    def _note_length(self, question: Question, tokens: int) -> None:
        if tokens < self.settings.tokens:
            why = f"with it all {self.conversation.window:,} that the model looks back are taken"
        else:
            why = "--tokens allows more"
        say(f"note: the answer was cut after {tokens:,} tokens: {why}")


def _typed(address: Address) -> Address:
    """A parameter of the conversation as the user of the command knows it."""
    return {"context": ("--context",), "text": ()}.get(str(address[0]) if address else "", address)


def say(text: str) -> None:
    """To the user, beside what the model says."""
    print(text, file=sys.stderr, flush=True)
