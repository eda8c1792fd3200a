"""Which checkpoints may be merged, and what a merge foretells of the decay that is then trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from artifacts.errors import UserError
from artifacts.paths import Store
from mixtures.spec.spec import Phase
from pipelines.training.previews import default_spans, previews
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import BATCH, MODEL, plan, run, settings
from trainer.checkpoints.checkpoint import Checkpoint, at_step
from trainer.loop.branch import branch
from trainer.loop.decay_merge import check_mergeable, decayed_by_merging, mergeable
from trainer.optimizer.merge_coefficients import merge_coefficients
from trainer.optimizer.schedules import DecaySpec

LINEAR = DecaySpec(shape="linear")
STABLE, DECAY = 48, 16
SHARES = {"web": 0.6, "code": 0.4}


@pytest.fixture(scope="module")
def stable(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training at a constant rate that is high enough for its weights to swing, with a checkpoint
    every four steps.
    """
    folder = tmp_path_factory.mktemp("stable") / "run"
    run(
        corpus,
        folder,
        plan=plan(corpus, Phase(name="stable", tokens=STABLE * BATCH, weights=SHARES)),
        settings=settings(
            checkpoint_every=4,
            validate_every=48,
            validation_windows=64,
            schedule={"peak": 0.06, "warmup": 6, "decay": {"shape": "linear"}},
        ),
    )
    return folder


def line(folder: Path, *steps: int) -> list[Checkpoint]:
    return [at_step(Store(folder), step) for step in steps]


def test_what_leads_to_a_checkpoint_is_merged_without_the_warm_up(stable: Path) -> None:
    (start,) = line(stable, 20)
    assert [one.state.step for one in mergeable(start)] == [8, 12, 16, 20]
    (early,) = line(stable, 4)
    with pytest.raises(UserError, match="warm-up"):
        check_mergeable([early, start])


def test_a_merge_lies_between_the_stable_loss_and_the_decayed_one_or_below(
    corpus: Corpus, stable: Path, tmp_path: Path
) -> None:
    """The decay is trained on the windows that the merge spans: a branch of an earlier step."""
    first, last = line(stable, STABLE - DECAY, STABLE)
    decay = Phase(name="decay", decay=True, tokens=DECAY * BATCH, weights=SHARES)
    compared = branch(
        first, {"decayed": [decay]}, corpus.folders, tmp_path, validation=corpus.held_out
    )
    rows = previews(last, LINEAR, [1 + DECAY // 4], corpus.held_out)
    own, merge = (row.losses for row in rows)
    assert (rows[0].span, rows[1].span, rows[1].tokens) == (0, DECAY, DECAY * BATCH)
    assert rows[1].steps == (32, 36, 40, 44, 48)
    for source in ("web", "code"):
        decayed = compared.measured["decayed"][source].whole
        assert decayed.per_token < own[source].per_token
        assert merge[source].per_token < own[source].per_token


def test_a_preview_is_the_merged_model_and_the_checkpoint_itself(
    corpus: Corpus, stable: Path
) -> None:
    (start,) = line(stable, 16)
    rows = previews(start, LINEAR, None, corpus.held_out)
    assert [row.steps for row in rows] == [(16,), (12, 16), (8, 12, 16)]
    assert rows[2].coefficients == merge_coefficients(LINEAR, [8, 12, 16])
    assert rows[0].to_json()["sources"]["web"]["loss"] == rows[0].losses["web"].per_token
    weights = decayed_by_merging(line(stable, 8, 12, 16), LINEAR)
    third = [one.weights()["embedding"].double() / 3 for one in line(stable, 8, 12, 16)]
    torch.testing.assert_close(weights["embedding"].double(), sum(third), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("available", "spans"), [(2, [2]), (3, [2, 3]), (4, [2, 4]), (9, [2, 4, 8, 9])]
)
def test_spans_double_up_to_all(available: int, spans: list[int]) -> None:
    assert default_spans(available) == spans


def test_a_span_of_more_checkpoints_than_there_are_is_refused(corpus: Corpus, stable: Path) -> None:
    (start,) = line(stable, 16)
    for span in (0, 1, 4):
        with pytest.raises(UserError, match="spans") as refused:
            previews(start, LINEAR, [span], corpus.held_out)
        assert refused.value.allowed == ["2 to 3"]
    (first,) = line(stable, 8)
    with pytest.raises(UserError, match="nothing to merge it with"):
        previews(first, LINEAR, None, corpus.held_out)


def test_checkpoints_in_the_decay_are_refused(whole: Path) -> None:
    decaying = line(whole, 8, 12)
    with pytest.raises(UserError, match="has begun to decay"):
        decayed_by_merging(decaying, LINEAR)
    with pytest.raises(UserError, match="has begun to decay"):
        mergeable(decaying[-1])


def test_checkpoints_of_different_trainings_are_refused(
    corpus: Corpus, stable: Path, tmp_path: Path
) -> None:
    short = {"checkpoint_every": 4, "schedule": {"peak": 0.06, "warmup": 6}}
    frozen = plan(corpus, Phase(name="stable", tokens=STABLE * BATCH, weights=SHARES))
    other_plan = plan(corpus, Phase(name="stable", tokens=STABLE * BATCH, weights={"web": 1.0}))
    others = {
        "seeds": {"settings": settings(**short, seed=2)},
        "train": {"settings": settings(**short, weight_decay=0.2)},
        "model": {"settings": settings(**short), "model": MODEL.model_copy(update={"ff": 64})},
        "plan": {"settings": settings(**short), "plan": other_plan},
        "schedule": {"settings": settings(**short | {"schedule": {"peak": 0.05, "warmup": 6}})},
    }
    (last,) = line(stable, 20)
    for field, options in others.items():
        folder = tmp_path / field
        run(corpus, folder, until_step=12, validation=None, **{"plan": frozen, **options})
        with pytest.raises(UserError, match="one training") as refused:
            check_mergeable([*line(folder, 12), last])
        assert refused.value.field == field


def test_the_order_is_that_of_the_steps(stable: Path) -> None:
    with pytest.raises(UserError, match="each after the one before"):
        check_mergeable(line(stable, 12, 8))
    with pytest.raises(UserError, match="two checkpoints or more"):
        check_mergeable(line(stable, 12))
