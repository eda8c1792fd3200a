"""The boundary to the terminal: all that is written there is shown, and nothing in it acts.

    print, warnings, tracebacks ─ ShownStream ─▶ stdout, stderr
    tables, bars of rich ─ ShownConsole ─▶ the same, with rich's own colours and moves
    a text that was asked for ─ print_text ─▶ a terminal, shown; a file or a pipe, exact

:func:`show_streams` is called once, before a command runs. JSON that a command prints
comes from :func:`artifacts.visible_text.shown_json`, so it passes as it is.
"""

from __future__ import annotations

import codecs
import io
import json
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.file_proxy import FileProxy
from rich.segment import Segment

from artifacts.visible_text import visible

_NUMBERED = "windtunnel.numbered"


class ShownStream:
    """A text stream that shows what acts or hides in the text it is given."""

    def __init__(self, stream: TextIO | FileProxy) -> None:
        # where rich looks for the stream itself: its consoles see to their text
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        self.rich_proxied_file.write(visible(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


class ShownConsole(Console):
    """A console of rich whose texts are shown; colours and moves are rich's alone."""

    @property
    def file(self) -> IO[str]:
        """Where it writes: the stream itself, also while a live view has put its own in place."""
        file: IO[str] | FileProxy = super().file
        while isinstance(file, ShownStream | FileProxy):
            file = file.rich_proxied_file
        return file

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)


def print_text(text: str, end: str = "\n") -> None:
    """Print a text that is the result of a command, or a piece of it, at once: shown on a terminal,
    exact in a file or a pipe.
    """
    stream = _exact()
    print(visible(text) if stream.isatty() else text, end=end, file=stream, flush=True)


def on_a_terminal() -> bool:
    """Whether standard output is a terminal."""
    return bool(_exact().isatty())


def _exact() -> Any:
    """Standard output as it was before :func:`show_streams`."""
    stream = sys.stdout
    return stream.rich_proxied_file if isinstance(stream, ShownStream) else stream


def show_streams() -> None:
    """From here on, standard output and standard error show what is written to them; letters that
    a stream's encoding lacks by their numbers, as JSON writes them.
    """
    codecs.register_error(_NUMBERED, _numbered)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_NUMBERED)
        if stream is not None and not isinstance(stream, ShownStream):
            setattr(sys, name, ShownStream(stream))


def _numbered(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end
