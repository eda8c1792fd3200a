"""The loop in bf16, on the references of its kernels: it learns as fp32 does, and interruptions
leave no trace.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from artifacts.errors import UserError
from artifacts.paths import Store
from mixtures.loader.loader import Loader
from tests.trainer import loop_runs
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import DECAY, MODEL, STABLE, run, traces
from tests.trainer.test_master_weights import Reads
from trainer.checkpoints.checkpoint import at_step, load, saved
from trainer.checkpoints.weights import model_of
from trainer.evaluation.held_out import validate
from trainer.loop.branch import START, branch
from trainer.loop.metrics import read_series
from trainer.loop.run import Run
from trainer.loop.settings import TrainSettings
from trainer.loop.start import FromSeed
from trainer.objectives.gradient import pending_loss
from trainer.objectives.losses import token_bytes
from trainer.objectives.next_token import NextToken
from trainer.objectives.objective import Place

STEPS = STABLE + DECAY


def settings(**changes: Any) -> TrainSettings:
    return loop_runs.settings(precision="bf16", device="cpu", **changes)


@pytest.fixture(scope="module")
def narrow(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run in bf16. Nobody may change it."""
    folder = tmp_path_factory.mktemp("narrow") / "run"
    assert run(corpus, folder, settings=settings()).finished
    return folder


@pytest.mark.slow
def test_the_loss_falls_along_fp32s_curve(corpus: Corpus, tmp_path: Path) -> None:
    """At a rate that does not multiply rounding: at 0.02 fp32 and fp64 part as well."""
    gentle = {"schedule": {"peak": 0.001, "warmup": 3}}
    run(corpus, tmp_path / "bf16", settings=settings(**gentle))
    run(corpus, tmp_path / "fp32", settings=loop_runs.settings(**gentle))
    losses, exact = (
        [line["loss"] for line in read_series(tmp_path / name)] for name in ("bf16", "fp32")
    )
    assert losses != exact
    assert losses == pytest.approx(exact, rel=0.01)
    assert losses[-1] < 6.6
    for found, expected in zip(
        *(read_series(tmp_path / name, "validation") for name in ("bf16", "fp32")), strict=True
    ):
        for name, part in expected["sources"].items():
            assert found["sources"][name]["loss"] == pytest.approx(part["loss"], rel=0.01)


def test_at_the_full_rate_it_learns_too(narrow: Path) -> None:
    losses = [line["loss"] for line in read_series(narrow)]
    assert losses[-1] < 6.6


@pytest.mark.kill
@pytest.mark.parametrize("stops", [[1, 7], [4, 5, 10]])
def test_a_run_stopped_and_resumed_is_bitwise_the_same(
    corpus: Corpus, narrow: Path, tmp_path: Path, stops: list[int]
) -> None:
    for stop in [*stops, STEPS]:
        run(corpus, tmp_path, settings=settings(), until_step=stop)
    assert traces(tmp_path) == traces(narrow)
    assert saved(Store(tmp_path)) == saved(Store(narrow))


def test_checkpoints_hold_fp32_masters_and_say_the_precision(narrow: Path, whole: Path) -> None:
    found, other = (at_step(folder, STEPS) for folder in (narrow, whole))
    assert {name: (value.dtype, value.shape) for name, value in found.weights().items()} == {
        name: (value.dtype, value.shape) for name, value in other.weights().items()
    }
    assert found.moments().keys() == other.moments().keys()
    assert any(
        not torch.equal(value, value.bfloat16().float()) for value in found.weights().values()
    ), "more than bf16 holds"
    assert found.state.settings["precision"] == "bf16"


def test_another_precision_is_another_training(
    corpus: Corpus, narrow: Path, tmp_path: Path
) -> None:
    run(corpus, tmp_path, settings=settings(), until_step=2)
    with pytest.raises(UserError, match="trained otherwise") as error:
        run(corpus, tmp_path, settings=loop_runs.settings(precision="fp32"))
    assert error.value.field == "train.precision"


def test_a_branch_goes_on_in_bf16_and_is_measured_as_it_trains(
    corpus: Corpus, narrow: Path, tmp_path: Path
) -> None:
    start = at_step(narrow, STABLE)
    comparison = branch(
        start, {"mixed": [loop_runs.MIXED]}, corpus.folders, tmp_path, validation=corpus.held_out
    )
    last = read_series(tmp_path / "mixed", "validation")[-1]
    for name, loss in comparison.losses["mixed"].items():
        assert last["sources"][name]["loss"] == loss.per_token
        assert comparison.losses[START][name].per_token != loss.per_token
    assert (
        load(tmp_path / "mixed" / "checkpoints" / f"step-{STEPS:08d}").state.settings["precision"]
        == "bf16"
    )


def test_a_checkpoint_speaks_in_either_precision(corpus: Corpus, narrow: Path) -> None:
    losses = [
        validate(
            model_of(at_step(narrow, STEPS), "cpu", dtype),
            corpus.held_out,
            corpus.tokenizer,
            sequence_length=32,
            windows=4,
        )["web"]
        for dtype in (torch.float32, torch.bfloat16)
    ]
    assert losses[1].per_token == pytest.approx(losses[0].per_token, rel=0.01)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(
    corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="not finite"):
        run(
            corpus,
            tmp_path,
            settings=settings(schedule={"peak": 1e30, "warmup": 0}, checkpoint_every=1),
        )
    assert saved(Store(tmp_path))[-1] == len(read_series(tmp_path)) > 0


def test_a_step_reads_nothing_back_before_it_is_enqueued(corpus: Corpus) -> None:
    frozen, chosen = loop_runs.plan(corpus), settings()
    config = MODEL.config(corpus.tokenizer.vocab_size)
    loader, objective = Loader(frozen, corpus.folders), NextToken(token_bytes(corpus.tokenizer))
    begun = Run.begin(frozen, loader, corpus.tokenizer, config, chosen, 1, FromSeed(), objective)
    batch = begun.loader.batch(0)
    with Reads() as reads:
        pending = pending_loss(objective, begun.model, batch, Place(0), 3, backward=True)
        norm = begun.optimizer.clip(chosen.clip, pending.minimised)
        begun.optimizer.step(0.01)
        begun.optimizer.zero_grad()
    micro_batches = -(-len(batch.tokens) // 3)
    assert reads.count == micro_batches, (
        "the mask looks at the documents, on a CPU alone; nothing else looks at anything"
    )
    assert pending.read().loss > 1
    assert float(norm) > 0
