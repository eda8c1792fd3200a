"""What the user typed, for the commands that texts tell them to give.

with asking({"RECIPE": "r.yaml"}, {"--runs": ["elsewhere"]}):
    print(completed(Command("train RECIPE")))      # windtunnel train r.yaml --runs elsewhere
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artifacts.commands import Command, quoted
from artifacts.errors import UserError

CARRIED = {
    "runs": "--runs",
    "overrides": "--set",
    "scheduler": "--scheduler",
    "plan": "--plan",
}
"""Options that say where and what; a command to go on with needs them again."""
_TUNNEL = tuple(
    f"tunnel {kind}"
    for kind in (
        *("batch", "coordcheck", "dynamics", "forecast", "law", "lr", "mixtures", "schedule"),
        *("search", "stages", "value"),
    )
)
_TAKES = {
    "--runs": (
        "run", "train", "branch", "report", "corpus explain", "corpus export", "corpus requeue",
        "cache ls", "cache gc", "shards verify", "shards inspect", "shards remove", "mixture plan",
        "mixture check", "mixture edit", "mixture trace", "tokenizer export", "export", "evaluate",
        "preview", "laws fit", *_TUNNEL,
    ),
    "--set": ("run", "train", "mixture plan", "corpus requeue", *_TUNNEL),
    "--scheduler": ("run",),
    "--plan": ("train",),
}  # fmt: skip
_BLANKS = {"recipe": "RECIPE", "run": "RUN", "target": "RUN", "index": "INDEX", "document": "ID"}
_DEFAULTS: tuple[object, ...] = ("runs", None, (), [])


@dataclass(frozen=True)
class _Asked:
    known: Mapping[str, object] = field(default_factory=dict)
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)


_ASKED: ContextVar[_Asked] = ContextVar("asked")


@contextlib.contextmanager
def asking(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Remember the arguments of a command, by parameter, while it runs."""
    known = {
        blank: arguments[name]
        for name, blank in _BLANKS.items()
        if isinstance(arguments.get(name), str | Path)
        and not (name == "target" and Path(arguments[name]).is_file())  # a plan's, and no run
    }
    options = {
        option: [str(value)] if isinstance(value, str | Path) else list(value or ())
        for name, option in CARRIED.items()
        if (value := arguments.get(name)) not in _DEFAULTS
    }
    token = _ASKED.set(_Asked(known, options))
    try:
        yield
    finally:
        _ASKED.reset(token)


def completed(command: Command) -> Command:
    """The command with what the user typed in place of its blanks, and with the options that said
    where and what.
    """
    asked = _ASKED.get(_Asked())
    known = dict(asked.known)
    if "RUN" in command.blanks and "RUN" not in known and (name := _name_of(asked)):
        known["RUN"] = name
    words = command.words.split()
    more = [
        f"{option} {quoted(value)}"
        for option, values in asked.options.items()
        if option not in words and takes(command, option)
        for value in values
    ]
    return command.filled(known).with_options(" ".join(more))


def _name_of(asked: _Asked) -> str | None:
    """The name of the run of the recipe that was typed, with what overrides it."""
    from pipelines.recipe.yaml_lines import YamlFile

    known = asked.known
    if "RECIPE" not in known:
        return None
    for override in reversed(asked.options.get("--set", ())):
        field, _, value = override.partition("=")
        if field.strip() == "name":
            return value.strip()
    with contextlib.suppress(UserError):  # it is what the text is about
        name = YamlFile(Path(str(known["RECIPE"]))).plain().get("name")
        return name if isinstance(name, str) else None
    return None


def takes(command: Command, option: str) -> bool:
    """Whether a command has one of the options in :data:`CARRIED`."""
    return any(f"{command.words} ".startswith(f"{name} ") for name in _TAKES[option])
