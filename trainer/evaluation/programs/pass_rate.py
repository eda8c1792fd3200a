"""How often programs that a model writes pass: samples of every problem, run, and counted.

    score = pass_rate(model, tokenizer, problems, "humaneval", sandbox, settings, samples=10)

Every sample is a prompt of its own, which draws from a generator of its own, so neither the batch
nor other problems change what is written.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from artifacts.errors import UserError
from tokenizer.encode import Tokenizer
from trainer.evaluation.generate import answers
from trainer.evaluation.programs.problems import Problem
from trainer.evaluation.programs.sandbox import Outcome, Sandbox
from trainer.evaluation.tasks.scores import Score
from trainer.generation.settings import GenerateSettings
from trainer.model import Model


def pass_rate(
    model: Model,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    task: str,
    sandbox: Sandbox,
    settings: GenerateSettings,
    *,
    samples: int = 1,
    passes: int = 1,
) -> Score:
    """The chance that of ``passes`` samples one passes, of every problem from ``samples`` samples.

    What the model wrote is run, within ``sandbox``. The stops of the problems take the place of
    those of ``settings``. Raises: UserError.
    """
    written = completions(model, tokenizer, problems, settings, samples)
    trials = [
        problem.trial(text)
        for problem, texts in zip(problems, written, strict=True)
        for text in texts
    ]
    return score_of(task, problems, sandbox.run_all(trials), passes=passes, walls=sandbox.walls)


def completions(
    model: Model,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    settings: GenerateSettings,
    samples: int,
) -> list[list[str]]:
    """``samples`` texts of every problem, in order. Raises: UserError where all of one problem
    would be the same.
    """
    check_samples(samples, settings.temperature)
    prompts = [problem.prompt for problem in problems for _ in range(samples)]
    stopped = _stopping(settings, problems)
    texts = [one.text for one in answers(model, tokenizer, prompts, stopped)]
    return [texts[first : first + samples] for first in range(0, len(texts), samples)]


def check_samples(samples: int, temperature: float) -> None:
    """Raises: UserError where all samples of a problem would be the same."""
    if samples > 1 and not temperature:
        raise UserError(
            "at temperature 0 all samples of a problem are the same",
            parameter="samples",
            found=samples,
            allowed=["1, or a temperature above 0"],
            fix="take one sample, or give a temperature such as 0.2",
        )


def _stopping(settings: GenerateSettings, problems: Sequence[Problem]) -> GenerateSettings:
    """The same settings with the stops of the problems, which one benchmark shares."""
    (stop,) = {problem.stop for problem in problems}
    return settings.model_copy(update={"stop": stop})


def score_of(
    task: str,
    problems: Sequence[Problem],
    outcomes: Sequence[Outcome],
    *,
    passes: int,
    walls: Sequence[str],
) -> Score:
    """The score of outcomes, as many of each problem as of any other, problem by problem."""
    samples = len(outcomes) // len(problems)
    passed = np.array([outcome.passed for outcome in outcomes]).reshape(len(problems), samples)
    values = [pass_at(samples, int(count), passes) for count in passed.sum(1)]
    keys = tuple(problem.key for problem in problems)
    return Score(
        task,
        f"pass_at_{passes}_accuracy",
        keys,
        keys,
        np.array(values),
        np.ones(len(problems)),
        note=(
            f"{'one sample' if samples == 1 else f'{samples} samples'} of each problem, run behind "
            f"walls: {', '.join(walls) or 'none'}"
        ),
    )


def pass_at(samples: int, passed: int, passes: int) -> float:
    """The chance that of ``passes`` of the samples, drawn without putting back, one is among the
    ``passed``: the unbiased estimate of arXiv 2107.03374, equation 1.

    >>> round(pass_at(10, 3, 1), 6), round(pass_at(4, 2, 2), 6)
    (0.3, 0.833333)

    Raises: UserError for more passes than samples.
    """
    if not 1 <= passes <= samples:
        raise UserError(
            "pass@k needs at least k samples",
            parameter="passes",
            found=passes,
            allowed=[f"1 to {samples}, the samples"],
            fix="take more samples, or a smaller k",
        )
    if samples - passed < passes:
        return 1.0
    missed = np.arange(samples - passed + 1, samples + 1)
    return float(1 - np.prod(1 - passes / missed))
