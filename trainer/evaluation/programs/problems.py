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
from collections.abc import Callable
from dataclasses import dataclass

from artifacts.errors import UserError
from trainer.evaluation.programs.sandbox import Trial
from trainer.evaluation.tasks.files import rows_of
from trainer.evaluation.tasks.records import unwrapped
from trainer.evaluation.tasks.rows import RESTORE, Row

HUMANEVAL_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
MBPP_STOPS = ("[DONE]",)
MBPP_SHOTS = (2, 3, 4)
MBPP_TESTS = range(11, 511)


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


def read_problems(file: str, layout: str, limit: int | None = None) -> list[Problem]:
    """The test problems of a file (JSON Lines, also packed), in order; at most ``limit``.

    Raises: UserError for an unknown layout, a file that is not there or not such a one, a problem
    without tests or twice.
    """
    if layout not in LAYOUTS:
        raise UserError(
            "no such layout of programs", found=layout, allowed=LAYOUTS, fix="name one of these"
        )
    problems = LAYOUTS[layout]([unwrapped(row) for row in rows_of(file)])
    keys = [problem.key for problem in problems]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if not problems or twice is not None:
        raise UserError(
            "the file has no test problems" if twice is None else "a problem stands there twice",
            file=file,
            field="task_id",
            found=twice or "none",
            fix=RESTORE,
        )
    return problems[:limit]


def _humaneval(rows: list[Row]) -> list[Problem]:
    problems = []
    for row in rows:
        prompt, name = row.text("prompt"), row.text("entry_point")
        if not name.isidentifier():
            raise row.error("a name of a function belongs here", "entry_point", found=name)
        problems.append(
            Problem(
                row.text("task_id"),
                prompt,
                prompt,
                HUMANEVAL_STOPS,
                f"{row.text('test')}\n\ncheck({name})\n",
                (name,),
                prompt + row.text("canonical_solution"),
            )
        )
    return problems


def _mbpp(rows: list[Row]) -> list[Problem]:
    numbered = {}
    for row in rows:
        number = row.values.get("task_id")
        if not isinstance(number, int) or isinstance(number, bool):
            raise row.error("a whole number belongs here", "task_id", found=repr(number))
        if number in numbered:
            raise row.error("a problem stands there twice", "task_id", found=repr(number))
        numbered[number] = row
    shots = "".join(
        f"{_told(numbered[number])}{numbered[number].text('code')}\n[DONE]\n\n"
        for number in MBPP_SHOTS
        if number in numbered
    )
    return [_mbpp_problem(row, shots) for number, row in numbered.items() if number in MBPP_TESTS]


def _lines(row: Row, name: str) -> list[str]:
    """A list of texts, of at least one. Raises: UserError."""
    lines = row.value(name)[1]
    if not isinstance(lines, list) or not lines:
        raise row.error("a list of lines of code belongs here", name, found=repr(lines)[:80])
    return [row.checked(line, name) for line in lines]


def _told(row: Row) -> str:
    task, tests = row.text("text", "prompt"), "\n".join(_lines(row, "test_list"))
    return (
        f"You are an expert Python programmer, and here is your task: {task}"
        f" Your code should pass these tests:\n\n{tests}\n[BEGIN]\n"
    )


def _mbpp_problem(row: Row, shots: str) -> Problem:
    tests, code = "\n".join(_lines(row, "test_list")), row.text("code")
    if row.values.get("test_imports"):
        setup = "\n".join(_lines(row, "test_imports"))
    else:
        setup = row.text("test_setup_code") if row.values.get("test_setup_code") else ""
    try:
        defined = {node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)}
        called = {
            node.func.id
            for node in ast.walk(ast.parse(tests))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise row.error("code and tests are not Python", "code", found=str(error)) from None
    if not defined & called:
        raise row.error("no test calls a function of the code", "test_list", found=tests[:80])
    functions = tuple(sorted(defined & called))
    reference = f"{code}\n{setup}\n"
    key = str(row.values["task_id"])
    return Problem(key, shots + _told(row), "", MBPP_STOPS, tests, functions, reference)


LAYOUTS: dict[str, Callable[[list[Row]], list[Problem]]] = {
    "humaneval": _humaneval,
    "mbpp": _mbpp,
}
"""Publishers' layouts by the name of the benchmark."""
