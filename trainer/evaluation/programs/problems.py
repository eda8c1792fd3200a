"""Problems of HumanEval and MBPP as their publishers lay them out: prompt, stops, tests.

    problems = read_problems("HumanEval.jsonl.gz", "humaneval")
    problems[0].trial("    return 1\\n")

HumanEval (arXiv 2107.03374): a prompt is the head of a function, which the model goes on with; it
ends where something else begins at the margin. MBPP (arXiv 2108.07732): a prompt tells the task and
its tests after three solved ones, problems 2 to 4 of the same file; the test problems are 11 to
510, of which the sanitized file has a part.
"""

from __future__ import annotations

import ast
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from artifacts.errors import UserError
from trainer.evaluation.programs.sandbox import Trial

LARGEST = 64 << 20
"""Bytes of a file, once decompressed; HumanEval has 0.2 MB, MBPP 0.6 MB."""

HUMANEVAL_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
MBPP_STOPS = ("[DONE]",)
MBPP_SHOTS = (2, 3, 4)
MBPP_TESTS = range(11, 511)

_RESTORE = "restore the file as its publisher has it"


@dataclass(frozen=True)
class Problem:
    """``key``: its number or name at the publisher. ``begun``: what stands before a completion in
    the program. ``stop``: texts at which a completion ends. The rest is that of a
    :class:`~trainer.evaluation.programs.sandbox.Trial`.
    """

    key: str
    prompt: str
    begun: str
    stop: tuple[str, ...]
    tests: str
    functions: tuple[str, ...]
    reference: str

    def trial(self, completion: str) -> Trial:
        """What is run of a completion."""
        return Trial(self.begun + completion, self.tests, self.functions, self.reference)


@dataclass(frozen=True)
class _Place:
    """Where a record stands, for errors."""

    file: str
    line: int
    values: Mapping[str, Any]

    def text(self, *names: str) -> str:
        """The first of these fields that is there. Raises: UserError where it is no text."""
        name = next((name for name in names if name in self.values), names[0])
        value = self.values.get(name)
        if not isinstance(value, str) or (not value.strip() and name != "test_setup_code"):
            raise self.error("a text belongs here", name, value)
        return value

    def texts(self, name: str) -> list[str]:
        """A list of texts, of at least one. Raises: UserError."""
        value = self.values.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
            raise self.error("a list of texts belongs here", name, value)
        return value

    def error(self, message: str, field: str, found: object) -> UserError:
        """An error about a field of the record."""
        said = "nothing" if found is None else repr(found)[:80]
        return UserError(
            message, file=self.file, line=self.line, field=(field,), found=said, fix=_RESTORE
        )


def read_problems(file: str, layout: str, limit: int | None = None) -> list[Problem]:
    """The test problems of a file (JSON Lines, also .gz), in order; at most ``limit``.

    Raises: UserError for an unknown layout, a file that is not there or not such a one, a problem
    without tests or twice.
    """
    if layout not in LAYOUTS:
        raise UserError(
            "no such layout of programs", found=layout, allowed=LAYOUTS, fix="name one of these"
        )
    problems = LAYOUTS[layout](list(_places(file)))
    keys = [problem.key for problem in problems]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if not problems or twice is not None:
        raise UserError(
            "the file has no test problems" if twice is None else "a problem stands there twice",
            file=file,
            field="task_id",
            found=twice or "none",
            fix=_RESTORE,
        )
    return problems[:limit]


def _places(file: str) -> Iterator[_Place]:
    for line, raw in enumerate(_bytes(file).split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            values = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise UserError(
                "not JSON", file=file, line=line, found=str(error), fix=_RESTORE
            ) from None
        if not isinstance(values, dict):
            raise UserError("a record is a JSON object", file=file, line=line, fix=_RESTORE)
        yield _Place(file, line, values)


def _bytes(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            if file.endswith(".gz"):
                raw = gzip.GzipFile(fileobj=opened).read(LARGEST + 1)
            else:
                raw = opened.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            "cannot read the file", file=file, found=str(error), fix="check the path and the file"
        ) from None
    if len(raw) > LARGEST:
        raise UserError(
            "the file is too large for a benchmark of programs",
            file=file,
            found=f"more than {LARGEST:,} bytes",
            fix=_RESTORE,
        )
    return raw


def _humaneval(places: list[_Place]) -> list[Problem]:
    problems = []
    for place in places:
        prompt, name = place.text("prompt"), place.text("entry_point")
        if not name.isidentifier():
            raise place.error("a name of a function belongs here", "entry_point", name)
        problems.append(
            Problem(
                place.text("task_id"),
                prompt,
                prompt,
                HUMANEVAL_STOPS,
                f"{place.text('test')}\n\ncheck({name})\n",
                (name,),
                prompt + place.text("canonical_solution"),
            )
        )
    return problems


def _mbpp(places: list[_Place]) -> list[Problem]:
    numbered = {}
    for place in places:
        number = place.values.get("task_id")
        if not isinstance(number, int) or isinstance(number, bool):
            raise place.error("a whole number belongs here", "task_id", number)
        if number in numbered:
            raise place.error("a problem stands there twice", "task_id", number)
        numbered[number] = place
    shots = "".join(
        f"{_told(numbered[number])}{numbered[number].text('code')}\n[DONE]\n\n"
        for number in MBPP_SHOTS
        if number in numbered
    )
    return [
        _mbpp_problem(place, shots) for number, place in numbered.items() if number in MBPP_TESTS
    ]


def _told(place: _Place) -> str:
    task, tests = place.text("text", "prompt"), "\n".join(place.texts("test_list"))
    return (
        f"You are an expert Python programmer, and here is your task: {task}"
        f" Your code should pass these tests:\n\n{tests}\n[BEGIN]\n"
    )


def _mbpp_problem(place: _Place, shots: str) -> Problem:
    tests, code = "\n".join(place.texts("test_list")), place.text("code")
    if "test_imports" in place.values:
        setup = "\n".join(place.texts("test_imports")) if place.values["test_imports"] else ""
    else:
        setup = place.text("test_setup_code")
    try:
        defined = {node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)}
        called = {
            node.func.id
            for node in ast.walk(ast.parse(tests))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise place.error("code and tests are not Python", "code", str(error)) from None
    if not defined & called:
        raise place.error("no test calls a function of the code", "test_list", tests)
    functions = tuple(sorted(defined & called))
    reference = f"{code}\n{setup}\n"
    key = str(place.values["task_id"])
    return Problem(key, shots + _told(place), "", MBPP_STOPS, tests, functions, reference)


LAYOUTS: dict[str, Callable[[list[_Place]], list[Problem]]] = {
    "humaneval": _humaneval,
    "mbpp": _mbpp,
}
"""Publishers' layouts by the name of the benchmark."""
