"""Benchmarks of lm-evaluation-harness on a model of ours, from files of the user, offline.

    asked = [Asked("gsm8k", questions, shots)]
    for score in harness_scores(model, tokenizer, asked, window=256):
        print(score.task, score.measure, score.mean, score.standard_error)

Prompts, metrics and filters are the harness's own; only where questions come from is ours
(:mod:`trainer.evaluation.harness.task_files`). Its function ``evaluate`` is called, and not the
``simple_evaluate`` around it, which seeds the random numbers of the whole process and looks through
the machine; solved questions are drawn by the seed that that one gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from artifacts.errors import UserError
from artifacts.extras import require
from tokenizer.encode import Tokenizer
from trainer.evaluation.harness.averages import average_scores
from trainer.evaluation.harness.known import Form, forms_of
from trainer.evaluation.harness.outcome import Sample, better_of, scores_of
from trainer.evaluation.harness.quiet import alone
from trainer.evaluation.tasks.scores import Score
from trainer.model import Model

if TYPE_CHECKING:
    from trainer.evaluation.harness.model import HarnessModel
    from trainer.evaluation.harness.task_files import Asked

SHOTS_SEED = 1234
"""What the harness draws solved questions by."""


def harness_scores(
    model: Model,
    tokenizer: Tokenizer,
    asked: Sequence[Asked],
    window: int,
    limit: int | None = None,
) -> list[Score]:
    """What a model reaches on each benchmark that is asked, form by form, and their averages.

    ``window``: tokens that the model reads at once; ``limit``: questions of each subject. Raises:
    UserError without the extra ``evaluate``, for an unknown benchmark, and for questions that
    cannot be asked.
    """
    if not asked:
        return []
    require("evaluate", "harness")
    with alone():
        from trainer.evaluation.harness.model import HarnessModel

        twice = [
            name for name, times in Counter(one.benchmark for one in asked).items() if times > 1
        ]
        if twice:
            raise UserError(
                "a benchmark is asked once",
                parameter="harness",
                found=twice[0],
                fix="name all its files together",
            )
        scores = []
        for one in asked:
            own = []
            forms = forms_of(one.benchmark)
            for form in forms:
                speaker = HarnessModel(model, tokenizer, window)
                samples = samples_of(speaker, one, form, limit)
                own += scores_of(form, samples, _note(speaker, one))
            scores += [*own, *better_of(forms, own)]
    return [*scores, *average_scores(scores)]


def check_asked(asked: Sequence[Asked]) -> None:
    """Raises, before anything is measured, what :func:`harness_scores` raises for questions that
    cannot be asked.
    """
    if not asked:
        return
    from trainer.evaluation.harness.task_files import write_tasks

    with alone(), TemporaryDirectory(prefix="windtunnel-harness-") as folder:
        for one in asked:
            for form in forms_of(one.benchmark):
                write_tasks(one, form, Path(folder))


def samples_of(
    speaker: Any, asked: Asked, form: Form, limit: int | None = None
) -> dict[str, list[Sample]]:
    """What the harness logs of every question of a form, by task. ``speaker``: any model of the
    harness's kind. Inside :func:`~trainer.evaluation.harness.quiet.alone`.
    """
    from lm_eval.evaluator import evaluate
    from lm_eval.tasks import TaskManager

    from trainer.evaluation.harness.task_files import write_tasks

    with TemporaryDirectory(prefix="windtunnel-harness-") as folder:
        written = write_tasks(asked, form, Path(folder), limit)
        loaded = TaskManager(include_defaults=False).load([str(one.path) for one in written])
        for task in loaded["tasks"].values():
            task.set_fewshot_seed(seed=SHOTS_SEED)
        found = evaluate(lm=speaker, task_dict=loaded, bootstrap_iters=0, log_samples=True)
    samples: dict[str, list[Sample]] = found["samples"]
    return samples


def _note(speaker: HarnessModel, asked: Asked) -> str:
    """What a reader of a score must know beside its metric."""
    window = speaker.max_length
    parts = [f" (lm-eval {version('lm-eval')})"]
    if asked.note is not None:
        parts.append(asked.note)
    if speaker.cut:
        parts.append(f"{speaker.cut:,} requests lost their beginning in {window:,} tokens")
    if speaker.shortened:
        parts.append(f"{speaker.shortened:,} answers of at most {max(1, window // 2):,} tokens")
    return "; ".join(parts)
