"""Which benchmarks are known, each by the task files that it is asked in.

    known()["hellaswag"]        its forms: HellaSwag by likelihood, and by letters that are written

A file in ``tasks/`` is a task file of lm-evaluation-harness. It includes a file of the harness by
its path among the harness's own tasks, so prompts and metrics are those that others report, and may
override what it names. The entry ``windtunnel`` is ours: ``benchmark``, what users call it;
``layout``, how its publisher's files read; ``fields`` that a record has, the answer last, how many
options there may be (``lengths``), and the one that names a ``subject``;
``shots``, solved questions before each one where users name files with some and the harness's file
leaves their number open; ``better_of``, the measure that a written form competes with.
``{subject}`` in a path and a name is each subject's. A benchmark more is a file more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from ruamel.yaml import YAML

from artifacts.errors import UserError

SUBJECT = "{subject}"


@dataclass(frozen=True)
class Form:
    """One way to ask a benchmark. ``settings``: of the harness, ``include`` and ``task`` with
    :data:`SUBJECT` where there is a task for each.
    """

    benchmark: str
    layout: str
    fields: tuple[str, ...]
    settings: Mapping[str, Any]
    lengths: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    subject: str = "subject"
    shots: int = 0
    better_of: str | None = None

    @property
    def name(self) -> str:
        """As scores call it: its task without the subject."""
        return str(self.settings["task"]).removesuffix(f"_{SUBJECT}")

    @property
    def include(self) -> str:
        """The harness's own file, under its folder of tasks."""
        return str(self.settings["include"])

    @property
    def by_subject(self) -> bool:
        """Whether each subject is a task of its own."""
        return SUBJECT in str(self.settings["task"])


@cache
def known() -> Mapping[str, tuple[Form, ...]]:
    """All benchmarks by name, each with its forms, that by likelihood first."""
    forms: dict[str, list[Form]] = {}
    folder = resources.files("trainer.evaluation.harness") / "tasks"
    for file in sorted(folder.iterdir(), key=lambda file: file.name.removesuffix(".yaml")):
        settings = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
        ours = settings.pop("windtunnel")
        form = Form(**ours | {"fields": tuple(ours["fields"]), "settings": settings})
        forms.setdefault(form.benchmark, []).append(form)
    return {name: tuple(found) for name, found in forms.items()}


def forms_of(benchmark: str) -> tuple[Form, ...]:
    """The forms of a benchmark. Raises: UserError where there is no such one."""
    found = known().get(benchmark)
    if found is None:
        raise UserError(
            "no such benchmark",
            parameter="harness",
            found=benchmark,
            allowed=sorted(known()),
        )
    return found
