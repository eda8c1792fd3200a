"""Programs that a model is to write for problems, as a user asks for them.

programs = Programs.asked(["humaneval=HumanEval.jsonl.gz"], run_programs=True)
scores = programs.scores(model, tokenizer, window=1024)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from artifacts.errors import Setting, UserError
from tokenizer.encode import Tokenizer
from trainer.evaluation.programs.pass_rate import check_samples, pass_at, pass_rate
from trainer.evaluation.programs.problems import LAYOUTS, Problem, read_problems
from trainer.evaluation.programs.sandbox import Sandbox
from trainer.evaluation.tasks.scores import Score
from trainer.generation.settings import GenerateSettings
from trainer.model import Model

TOKENS = 300
"""Of a program, as UltraEval has it."""


@dataclass(frozen=True)
class Programs:
    """``problems`` by task; ``samples`` programs of each are written at ``temperature``, run in
    ``sandbox`` and counted as pass@``passes``.
    """

    problems: dict[str, list[Problem]]
    sandbox: Sandbox
    samples: int
    passes: int
    temperature: float

    @classmethod
    def asked(
        cls,
        files: Sequence[str],
        *,
        run_programs: bool = False,
        without_walls: bool = False,
        samples: int = 1,
        passes: int = 1,
        temperature: float = 0.0,
    ) -> Programs:
        """``files``: ``layout=file``, of a layout one. ``run_programs``: the consent to run what a
        model writes. Raises: UserError without it, before anything is run; for a file that is not
        one of problems; and where this machine cannot hold programs back.
        """
        if not run_programs:
            raise UserError(
                "programs that a model writes are run only where you say so",
                parameter="run_programs",
                found="no consent",
                fix=("give ", Setting("run_programs", True), " to run them"),
            )
        pass_at(samples, 0, passes)
        check_samples(samples, temperature)
        problems: dict[str, list[Problem]] = {}
        for said in files:
            layout, _, file = said.partition("=")
            if layout not in LAYOUTS or not file or layout in problems:
                raise UserError(
                    "a layout stands there twice"
                    if layout in problems
                    else "name layout and file of problems",
                    parameter="programs",
                    found=said,
                    allowed=[f"{name}=FILE" for name in LAYOUTS],
                    fix="name each layout once",
                )
            problems[layout] = read_problems(file, layout)
        sandbox = Sandbox.here(without_walls=without_walls)
        return cls(problems, sandbox, samples, passes, temperature)

    def scores(
        self, model: Model, tokenizer: Tokenizer, window: int, limit: int | None = None
    ) -> list[Score]:
        """A score of each task, over its first ``limit`` problems. Raises: UserError."""
        settings = GenerateSettings.asked(
            tokens=TOKENS, temperature=self.temperature, context=window
        )
        return [
            pass_rate(
                model,
                tokenizer,
                problems[:limit],
                task,
                self.sandbox,
                settings,
                samples=self.samples,
                passes=self.passes,
            )
            for task, problems in self.problems.items()
        ]
