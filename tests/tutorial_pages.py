"""Tutorials as a reader carries them out: blocks in order, in one shell, in one folder.

    blocks = blocks_of(page)            # fenced sh and python, and what the page shows after each
    printed = carry_out(blocks, folder)
    for block, text in zip(blocks, printed): assert block.agrees(text)

In what a page shows, ``...`` on a line of its own stands for any lines, and in a line for any text.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "import sys; from pipelines.launch import main; sys.argv = ['windtunnel', *sys.argv[1:]]; main()"
ANY = "..."
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```\n?", flags=re.S | re.M)
_CARRIED_OUT = ("sh", "python")


@dataclass(frozen=True)
class Block:
    """A fenced block that a reader carries out; ``shown``: what the page says it prints, if it
    does.
    """

    language: str
    text: str
    shown: str | None = None

    def agrees(self, printed: str) -> bool:
        """Whether what was printed is what the page shows."""
        return self.shown is None or _pattern(self.shown).fullmatch(_plain(printed)) is not None


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page that a reader carries out, each with the text block that follows it."""
    blocks: list[Block] = []
    end = -1
    for fence in _FENCE.finditer(page):
        language, text = fence.groups()
        if language in _CARRIED_OUT:
            blocks.append(Block(language, text))
            end = fence.end()
        elif language == "text":
            assert page[end : fence.start()].strip() == "", f"what prints this? {text}"
            blocks[-1] = Block(blocks[-1].language, blocks[-1].text, text)
            end = -1
    return blocks


def in_language(page: str, language: str) -> list[str]:
    """Contents of a page's fenced blocks in one language."""
    return [text for name, text in _FENCE.findall(page) if name == language]


def carry_out(
    blocks: Sequence[Block], folder: Path, replaced: Mapping[str, str] | None = None
) -> list[str]:
    """What each block printed, on both streams.

    ``replaced``: texts, such as ports, that are others on this machine. Raises: AssertionError
    when a block fails, with what it printed.
    """
    script = folder.parent / f"{folder.name}.sh"
    lines = ["set -euo pipefail"]
    for number, block in enumerate(blocks):
        lines.append(f"echo; echo {_mark(number)}")
        if block.language == "python":
            file = folder.parent / f"{folder.name}-{number}.py"
            file.write_text(block.text)
            lines.append(f"python {shlex.quote(str(file))}")
        else:
            text = block.text
            for old, new in (replaced or {}).items():
                text = text.replace(old, new)
            lines.append(text)
    script.write_text("\n".join([*lines, f"echo; echo {_mark(len(blocks))}", ""]))
    status, output = _shell(script, folder)
    printed = [
        part.removesuffix("\n") for part in re.split(r"^@@ \d+ @@\n", output, flags=re.M)[1:]
    ]
    reached = len(printed) - 1
    if status != 0 or reached != len(blocks):
        raise AssertionError(
            f"exit code {status} in block {reached}:\n{blocks[min(reached, len(blocks) - 1)].text}"
            f"\nprinted:\n{printed[-1] if printed else output}"
        )
    return printed[:-1]


def _shell(script: Path, folder: Path) -> tuple[int, str]:
    """Exit code and output of bash; whatever it leaves running is ended."""
    output = folder.parent / f"{folder.name}.out"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            ["bash", str(script)],
            cwd=folder,
            env=_environment(folder.parent / f"{folder.name}-bin"),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return status, output.read_text(encoding="utf-8", errors="replace")


def _environment(place: Path) -> dict[str, str]:
    """This interpreter's programs, and ``windtunnel``, which is this checkout's."""
    place.mkdir(exist_ok=True)
    command = place / "windtunnel"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{COMMAND}" "$@"\n')
    command.chmod(0o755)
    python = place / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    path = f"{place}:{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT)}


def _mark(number: int) -> str:
    return f"@@ {number} @@"


def _plain(text: str) -> str:
    """Lines without the space around them and with single spaces inside, and no empty ones."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line)


def _pattern(shown: str) -> re.Pattern[str]:
    parts = []
    for line in _plain(shown).splitlines():
        if line == ANY:
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*?".join(re.escape(part) for part in line.split(ANY)) + r"\n")
    return re.compile("".join(parts))
