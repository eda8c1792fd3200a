"""What a model reaches on tasks, by measures that a small model can move.

    scores = score_tasks(model, tokenizer, [task], window=256)
    scores[0].measure, scores[0].mean, scores[0].standard_error

- ``gold_bits_per_byte``, of every task: nats of the right answer after its context, by ln 2 and
  the bytes of the answer in UTF-8, the space before it included. The mean is over bytes. It moves
  long before a choice does.
- ``cloze_accuracy``, where there are options: the share of items whose right option is the
  likeliest after the task's norm (:mod:`trainer.evaluation.tasks.norms`). Options whose scores lie
  within :data:`TIE` of the best one share the choice equally, so an item may count 1/2; the note
  says how many.

Ids: BOS and the context; of the continuation what encoding both together has more than the context
alone. White space at a context's end belongs to the continuation. Of what is longer than the
window, the end is read: the note says of how many items. A continuation that is longer than a
window is read in several, every token after at least half a window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.errors import UserError
from tokenizer.encode import Tokenizer
from trainer.evaluation.tasks.items import Item, Task
from trainer.evaluation.tasks.likelihoods import Request, log_likelihoods
from trainer.evaluation.tasks.norms import NORMS, premise_of
from trainer.evaluation.tasks.scores import Score
from trainer.evaluation.window import check_window
from trainer.model import Model

GOLD, CLOZE = "gold_bits_per_byte", "cloze_accuracy"

TIE = 1e-6
"""Scores no further apart are equal: below what roundings of a sum of nats amount to."""


@dataclass(frozen=True)
class _Said:
    """A continuation after a context, as texts."""

    context: str
    continuation: str

    @classmethod
    def of(cls, context: str, continuation: str) -> _Said:
        kept = context.rstrip()
        return cls(kept, context[len(kept) :] + continuation)


class _Likelihoods:
    """Log-likelihoods of texts after texts, each found once, and which were cut."""

    def __init__(self, model: Model, tokenizer: Tokenizer, texts: Sequence[_Said], window: int):
        self.window = window
        self.cut: set[_Said] = set()
        unique = list(dict.fromkeys(texts))
        pieces: list[Request] = []
        counts = []
        for said, whole in zip(unique, requests_of(tokenizer, unique), strict=True):
            own = pieces_of(whole, window)
            pieces += own
            counts.append(len(own))
            if len(whole.context) + len(whole.continuation) > window + 1:
                self.cut.add(said)
        values = iter(log_likelihoods(model, pieces).tolist())
        self.nats = {
            said: sum(islice(values, count)) for said, count in zip(unique, counts, strict=True)
        }


def score_tasks(
    model: Model, tokenizer: Tokenizer, tasks: Sequence[Task], window: int
) -> list[Score]:
    """The scores of each task, in order; ``window`` tokens are seen at once.

    Raises: UserError for a window of less than two tokens, and for likelihoods that are not finite.
    """
    check_window(window)
    asked = [said for task in tasks for said in _asked(task)]
    found = _Likelihoods(model, tokenizer, asked, window)
    broken = [said for said, nats in found.nats.items() if not math.isfinite(nats)]
    if broken:
        raise UserError(
            "the model's losses are not finite",
            found=f"in {len(broken)} of {len(found.nats)} continuations",
            fix="take an earlier checkpoint",
        )
    return [score for task in tasks for score in _scores(task, found)]


def _asked(task: Task) -> list[_Said]:
    """What the model is asked for a task; equal questions are asked once."""
    premise = NORMS[task.norm].premise
    asked = []
    for item in task.items:
        asked.append(_Said.of(item.context, item.answer))
        asked += [_Said.of(item.context, option) for option in item.options]
        if premise:
            asked += [_Said.of(premise_of(item.context), option) for option in item.options]
    return asked


def _scores(task: Task, found: _Likelihoods) -> list[Score]:
    gold = [_gold(item, found) for item in task.items]
    cut = sum(
        any(_Said.of(item.context, text) in found.cut for text in (item.answer, *item.options))
        for item in task.items
    )
    notes = [task.note] if task.note else []
    if cut:
        longer = f"{cut:,} of {len(task.items):,} items are longer than {found.window:,} tokens"
        notes.append(f"{longer}: their beginning is not read")
    bits, sizes = (np.array([one[place] for one in gold], np.float64) for place in (0, 1))
    scores = [_score(task, GOLD, task.items, bits, sizes, None, notes)]
    chosen = [item for item in task.items if item.options]
    if chosen:
        choices = [_choice(item, task.norm, found) for item in chosen]
        values = np.array([value for value, _ in choices], np.float64)
        tied = sum(tie for _, tie in choices)
        said = [*notes, f"chosen by {NORMS[task.norm].says}"]
        if len(chosen) < len(task.items):
            left = len(task.items) - len(chosen)
            said.append(f"{left:,} {'item has' if left == 1 else 'items have'} no options")
        if tied:
            said.append(f"in {tied:,} items the best options are equal and share the choice")
        ones = np.ones(len(chosen))
        scores.append(_score(task, CLOZE, chosen, values, ones, task.chance, said))
    return scores


def _score(
    task: Task,
    measure: str,
    items: Sequence[Item],
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    chance: float | None,
    notes: Sequence[str],
) -> Score:
    keys, clusters = tuple(item.key for item in items), tuple(item.cluster for item in items)
    note = "; ".join(notes) or None
    return Score(task.name, measure, keys, clusters, values, weights, chance, note)


def _gold(item: Item, found: _Likelihoods) -> tuple[float, int]:
    """Bits per byte of the right answer, and its bytes."""
    said = _Said.of(item.context, item.answer)
    size = len(said.continuation.encode())
    return -found.nats[said] / math.log(2) / size, size


def _choice(item: Item, norm: str, found: _Likelihoods) -> tuple[float, bool]:
    """What an item counts, and whether several options were equally good."""
    after, alone = (
        np.array([found.nats.get(_Said.of(context, option), 0.0) for option in item.options])
        for context in (item.context, premise_of(item.context))
    )
    scores = NORMS[norm].scores(after, alone, item.options)
    best = np.flatnonzero(scores >= scores.max() - TIE)
    return (1.0 / len(best) if item.right in best else 0.0), len(best) > 1


def requests_of(tokenizer: Tokenizer, texts: Sequence[_Said]) -> list[Request]:
    """The ids of contexts, BOS first, and of what follows them."""
    contexts = list(dict.fromkeys(said.context for said in texts))
    whole = [said.context + said.continuation for said in texts]
    ids = tokenizer.encode(pa.array([*contexts, *whole], pa.large_string())).to_pylist()
    before = dict(zip(contexts, ids[: len(contexts)], strict=True))
    requests = []
    for said, both in zip(texts, ids[len(contexts) :], strict=True):
        first = before[said.context]
        rest = both[len(first) :] or tokenizer.encode_text(said.continuation)
        requests.append(Request((tokenizer.bos_id, *first), tuple(rest)))
    return requests


def pieces_of(whole: Request, window: int) -> list[Request]:
    """A request in pieces of ``window`` + 1 ids at most, inputs and targets: of a context the end,
    of a continuation every token once.
    """
    ids = whole.context + whole.continuation
    done = len(whole.context)
    if len(whole.continuation) <= max(1, window // 2) or len(ids) <= window + 1:
        start = max(0, len(ids) - window - 1)
        return [Request(ids[start:done], ids[done:])]
    pieces = []
    while done < len(ids):
        end = min(len(ids), done + max(1, window // 2))
        start = max(0, end - window - 1)
        pieces.append(Request(ids[start:done], ids[done:end]))
        done = end
    return pieces
