"""What is minimised, and where a training begins, are given to it: pairs with a model that adds a
loss, weights without a past, and next-token prediction as it always was.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from artifacts.errors import UserError
from mixtures.freeze.freeze import freeze
from mixtures.loader.loader import Batch, Loader
from mixtures.spec.spec import MixtureSpec, Phase
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import LENGTH, MODEL, STABLE, plan, run, settings, traces
from tests.trainer.pair_objective import BALANCE, BalancedModel, Pairs
from tokenizer.shards.reader import open_source
from trainer.checkpoints.checkpoint import Checkpoint, at_step, latest
from trainer.devices.determinism import deterministic
from trainer.loop.metrics import read_series
from trainer.loop.run import Run
from trainer.loop.start import FromCheckpoint, FromWeights, Start
from trainer.model import Model, init, parameter_groups
from trainer.objectives.gradient import micro_batches, pending_loss
from trainer.objectives.losses import NOTHING, by_source, token_bytes
from trainer.objectives.next_token import NextToken
from trainer.objectives.objective import Columns, PartLoss, Place, Tensors, record_of
from trainer.optimizer.adamw import AdamW
from trainer.optimizer.schedules import rate

STEPS = 5


@pytest.fixture
def balanced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model that a run makes adds a loss of its own."""
    monkeypatch.setattr("trainer.loop.run.Model", BalancedModel)


def fresh(corpus: Corpus, kind: type[Model] = Model) -> Model:
    config = MODEL.config(corpus.tokenizer.vocab_size)
    model = kind(config)
    init(model, config, 1)
    return model


def optimizer_of(model: Model, precision: torch.dtype = torch.float32) -> AdamW:
    groups = parameter_groups(model, model.config, 0.02, 0.1)
    return AdamW(groups, betas=(0.9, 0.95), eps=1e-8, compute=precision)


@pytest.mark.usefixtures("balanced")
def test_pairs_stopped_and_resumed_are_bit_for_bit_those_that_were_not(
    corpus: Corpus, tmp_path: Path
) -> None:
    straight = run(corpus, tmp_path / "straight", objective=Pairs(), until_step=STEPS)
    run(corpus, tmp_path / "stopped", objective=Pairs(), until_step=3)
    again = run(corpus, tmp_path / "stopped", objective=Pairs(), until_step=STEPS)
    assert (again.first_step, again.step, again.loss) == (3, STEPS, straight.loss)
    found = traces(tmp_path / "stopped")
    assert {"5/weights.safetensors", "5/moments.safetensors"} < set(found)
    assert found == traces(tmp_path / "straight")


@pytest.mark.usefixtures("balanced")
def test_pairs_say_in_metrics_and_checkpoints_what_was_minimised(
    corpus: Corpus, tmp_path: Path
) -> None:
    outcome = run(corpus, tmp_path, objective=Pairs(), until_step=STEPS)
    lines = read_series(tmp_path)
    assert [list(line) for line in lines] == [
        ["step", "tokens", "loss", "lr", "grad_norm", "pairs", "accuracy", "auxiliary"]
    ] * STEPS
    assert all(line["pairs"] == 4 and line["auxiliary"]["balance"] > 0 for line in lines)
    (held_out,) = read_series(tmp_path, "validation")
    assert set(held_out["sources"]) == {"web", "code", "chat"}
    # windows of whole documents: whole pairs of them, and no tokens to weigh groups by
    for value in held_out["sources"].values():
        assert list(value) == ["pairs", "loss", "accuracy", "documents"]
        assert value["pairs"] > 0 < value["documents"]
    assert outcome.checkpoint.state.objective == {"name": "pairs", "settings": {"beta": 0.1}}


@pytest.mark.usefixtures("balanced")
def test_a_step_over_pairs_is_that_of_the_whole_batch_computed_naively(
    corpus: Corpus, tmp_path: Path
) -> None:
    frozen, chosen = plan(corpus), settings(checkpoint_every=1)
    run(corpus, tmp_path, plan=frozen, settings=chosen, objective=Pairs(), until_step=1)
    model, objective = fresh(corpus, BalancedModel), Pairs()
    optimizer = optimizer_of(model)
    batch = Loader(frozen, corpus.folders).batch(0)
    columns = objective.columns(batch, Place(0))
    tensors = {name: torch.from_numpy(column) for name, column in columns.items()}
    loss = objective.loss(model, tensors).summed / 4
    balance = BALANCE * model.auxiliary_losses()["balance"]
    (loss + balance).backward()
    norm = float(optimizer.clip(chosen.clip))
    (line,) = read_series(tmp_path)
    assert line["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert line["auxiliary"]["balance"] == pytest.approx(balance.item(), rel=1e-6)
    assert line["grad_norm"] == pytest.approx(norm, rel=1e-5)
    optimizer.step(rate(chosen.schedule_of(frozen), 1))
    stored = at_step(tmp_path, 1).moments()  # a tenth of the gradient, clipped
    for name, (mean, _) in optimizer.moments().items():
        assert torch.allclose(stored[f"mean.{name}"], mean, rtol=1e-4, atol=1e-7), name


def test_no_micro_batch_parts_rows_that_belong_together() -> None:
    for rows in range(1, 12):
        for together in (1, 2, 4):
            parts = list(micro_batches(8, rows, together))
            assert [row for part in parts for row in range(8)[part]] == list(range(8))
            assert all(part.start % together == part.stop % together == 0 for part in parts)
            assert max(part.stop - part.start for part in parts) <= max(rows, together)
    with pytest.raises(UserError, match="whole groups of 2 rows"):
        list(micro_batches(7, 4, 2))


@pytest.mark.parametrize(
    ("sizes", "changed", "field"),
    [
        ((3, 3), {}, "train.batch_tokens"),
        ((4, 3), {"batch_tokens": 3 * LENGTH}, "mixture.phases.decay.batch_tokens"),
        ((4, 1), {"sequence_length": 4 * LENGTH}, "mixture.phases.decay.sequence_length"),
    ],
)
def test_a_batch_that_parts_pairs_is_an_error_where_its_size_is_said(
    corpus: Corpus, tmp_path: Path, sizes: tuple[int, int], changed: dict[str, int], field: str
) -> None:
    size = sizes[0] * LENGTH
    phases = (
        Phase(name="stable", tokens=size, weights={"web": 1.0}),
        Phase(name="decay", decay=True, tokens=size, weights={"web": 1.0}, **changed),
    )
    sources = {name: open_source(folder) for name, folder in corpus.folders.items()}
    frozen = freeze(
        MixtureSpec(phases=phases),
        sources,
        sequence_length=LENGTH,
        batch_tokens=size,
        seed=1,
        bos_id=corpus.tokenizer.bos_id,
    )
    assert (
        tuple(context.batch_windows for context in frozen.contexts)
        == sizes[-len(frozen.contexts) :]
    )
    chosen = settings(batch_tokens=size, schedule={"peak": 0.02}, micro_batch_tokens=None)
    with pytest.raises(UserError, match="whole groups of 2 rows") as error:
        run(corpus, tmp_path, plan=frozen, settings=chosen, objective=Pairs(), validation=None)
    assert error.value.field == field


def test_an_objective_may_unfold_windows_into_several_rows(corpus: Corpus) -> None:
    parts = []

    class Twice(NextToken):
        rows_together = 2

        def columns(self, batch: Batch, place: Place) -> Columns:
            whole = super().columns(batch, place)
            return {name: np.repeat(column, 2, axis=0) for name, column in whole.items()}

        def loss(self, model: Model, columns: Tensors) -> PartLoss:
            parts.append(len(columns["tokens"]))
            return super().loss(model, columns)

    batch, sizes = Loader(plan(corpus), corpus.folders).batch(0), token_bytes(corpus.tokenizer)
    once, twice = (
        pending_loss(objective, fresh(corpus), batch, Place(0), 5, backward=False).read()
        for objective in (NextToken(sizes), Twice(sizes))
    )
    assert parts == [4, 4, 4, 4]
    assert twice.loss == pytest.approx(once.loss, rel=1e-6)
    assert (twice.normaliser, len(twice.kept["nats"])) == (2 * once.normaliser, 16)


def test_columns_of_different_lengths_are_refused(corpus: Corpus) -> None:
    class Odd(Pairs):
        def columns(self, batch: Batch, place: Place) -> Columns:
            return {**super().columns(batch, place), "reference": np.zeros(3, np.float32)}

    batch = Loader(plan(corpus), corpus.folders).batch(0)
    with pytest.raises(ValueError, match=r"have \[3, 8\] rows"):
        pending_loss(Odd(), fresh(corpus), batch, Place(0), 4, backward=False)


def test_a_checkpoint_of_another_objective_is_refused(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    run(corpus, tmp_path, objective=Pairs(), until_step=1)
    before = read_series(tmp_path)
    for objective, field, found, allowed in (
        (None, "objective", "next_token", "pairs"),
        (Pairs(beta=0.5), "objective.beta", 0.5, 0.1),
    ):
        with pytest.raises(UserError, match="the checkpoint at step 1 was trained otherwise") as e:
            run(corpus, tmp_path, objective=objective)
        assert (e.value.field, e.value.found, e.value.allowed) == (field, found, [str(allowed)])
    with pytest.raises(UserError, match="was trained otherwise") as e:
        run(corpus, tmp_path / "b", objective=Pairs(), start=at_step(whole, STABLE))
    assert (e.value.field, e.value.found, e.value.allowed) == ("objective", "pairs", ["next_token"])
    assert read_series(tmp_path) == before


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_alone_train_as_the_same_weights_from_a_seed(
    corpus: Corpus, tmp_path: Path, precision: str
) -> None:
    chosen = settings(precision=precision)
    seeded = run(corpus, tmp_path / "seeded", settings=chosen, until_step=STEPS)
    tensors = {name: value.detach() for name, value in fresh(corpus).named_parameters()}
    save_file(tensors, tmp_path / "imported.safetensors")
    starts = [
        FromWeights.of_tensors(tensors, "imported"),
        FromWeights.of_file(tmp_path / "imported.safetensors"),
    ]
    for number, start in enumerate(starts):
        folder = tmp_path / str(number)
        outcome = run(corpus, folder, settings=chosen, start=start, until_step=STEPS)
        assert traces(folder) == traces(tmp_path / "seeded")
        state = outcome.checkpoint.state
        assert state.parent == start.parent
        assert set(start.parent) == {"weights", "past"}
        assert start.parent["past"] is False
        assert state.history == seeded.checkpoint.state.history
    assert starts[0].parent != starts[1].parent


def test_weights_of_a_checkpoint_start_at_step_0_without_moments_or_history(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    parent, frozen = at_step(whole, STABLE), plan(corpus, seed=2)
    begun = begin(corpus, FromWeights.of_checkpoint(parent), seed=2)
    assert (begun.step, begun.optimizer.updates, len(begun.history)) == (0, 0, 1)
    assert begun.history[0].from_step == 0
    for first, second in begun.optimizer.moments().values():
        assert not first.any()
        assert not second.any()
    for name, value in parent.weights().items():
        assert torch.equal(begun.optimizer.weights()[name], value)

    start = FromWeights.of_checkpoint(parent)
    outcome = run(corpus, tmp_path, plan=frozen, start=start, until_step=1)
    state = outcome.checkpoint.state
    assert (state.step, state.plan_hash, len(state.history)) == (1, frozen.hash, 1)
    assert state.parent == {
        "step": STABLE,
        "weights": parent.state.files["weights.safetensors"].checksum,
        "past": False,
    }
    # the bias correction of update 1: its moments are those of one gradient, its step nearly the
    # rate where a gradient is not tiny
    moments = outcome.checkpoint.moments()
    step = rate(settings().schedule_of(frozen), 1)
    before, after = parent.weights()["final_norm.weight"], outcome.checkpoint.weights()
    ratio = moments["mean.final_norm.weight"].square() / moments["square.final_norm.weight"]
    assert torch.allclose(ratio, torch.tensor(0.1**2 / 0.05), rtol=1e-4)
    moved = (after["final_norm.weight"] - before).abs()
    assert torch.allclose(moved, torch.tensor(step), rtol=1e-3)


def test_a_training_from_weights_alone_goes_on_from_its_own_checkpoints(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    start = FromWeights.of_checkpoint(at_step(whole, STABLE))
    run(corpus, tmp_path / "straight", start=start, until_step=STEPS)
    run(corpus, tmp_path / "stopped", start=start, until_step=2)
    again = run(corpus, tmp_path / "stopped", start=start, until_step=STEPS)
    assert again.first_step == 2
    assert again.checkpoint.state.parent == start.parent
    assert traces(tmp_path / "stopped") == traces(tmp_path / "straight")


@pytest.mark.usefixtures("balanced")
def test_pairs_begin_with_the_weights_of_a_pretrained_checkpoint(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    start = FromWeights.of_checkpoint(at_step(whole, STABLE))
    outcome = run(corpus, tmp_path, objective=Pairs(), start=start, until_step=2)
    assert outcome.checkpoint.state.objective is not None
    assert outcome.checkpoint.state.parent == start.parent


def test_weights_of_another_model_or_tokenizer_are_refused(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    start = FromWeights.of_checkpoint(at_step(whole, STABLE))
    other = MODEL.model_copy(update={"rope_theta": 5000.0})
    with pytest.raises(UserError, match="the weights are of another model") as error:
        run(corpus, tmp_path, model=other, start=start)
    assert (error.value.field, error.value.found) == ("model.rope_theta", 5000.0)
    # tensors are taken by names and shapes: whoever changes the angles says so by giving tensors
    tensors = at_step(whole, STABLE).weights()
    named = FromWeights.of_tensors(tensors, "imported")
    assert begin(corpus, named, model=other).step == 0
    small = {**tensors, "final_norm.weight": tensors["final_norm.weight"][1:]}
    with pytest.raises(UserError, match="the weights are of another model") as error:
        begin(corpus, FromWeights.of_tensors(small, "imported"))
    assert (error.value.field, error.value.file) == ("final_norm.weight", "imported")
    foreign = FromWeights(start.read, start.where, start.parent, {"tokenizer": "0" * 32})
    with pytest.raises(UserError, match="another model") as error:
        begin(corpus, foreign)
    assert error.value.field == "tokenizer"
    for path in (tmp_path / "absent", whole / "metrics" / "train.jsonl"):
        with pytest.raises(UserError, match="no readable weights here"):
            begin(corpus, FromWeights.of_file(path))


def test_a_checkpoint_given_as_start_is_a_branch_with_its_past(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    parent = at_step(whole, STABLE)
    for number, start in enumerate((parent, FromCheckpoint.branching(parent))):
        outcome = run(corpus, tmp_path / str(number), start=start, until_step=STABLE + 1)
        state = outcome.checkpoint.state
        assert (outcome.first_step, state.history) == (STABLE, parent.state.history)
        assert state.parent == {"step": STABLE, "weights": weights_checksum(parent)}


def test_next_token_prediction_is_a_plain_loop_bit_for_bit(corpus: Corpus, whole: Path) -> None:
    frozen, chosen = plan(corpus), settings()
    loader, schedule = Loader(frozen, corpus.folders), chosen.schedule_of(frozen)
    model, sizes = fresh(corpus), token_bytes(corpus.tokenizer)
    optimizer, lines = optimizer_of(model), read_series(whole)
    with deterministic(1):
        for step in range(1, STEPS + 1):
            batch = loader.batch(step - 1)
            total = float(batch.weights.sum(dtype=np.float64))
            summed, nats = 0.0, []
            for first in range(0, len(batch.tokens), 3):
                rows = batch.rows(first, min(first + 3, len(batch.tokens)))
                tokens, positions, targets = (
                    torch.from_numpy(column).long()
                    for column in (rows.tokens, rows.positions, rows.targets)
                )
                hidden = model(tokens, positions, torch.from_numpy(rows.documents))
                loss, _, each = model.loss(hidden, targets, torch.from_numpy(rows.weights))
                (loss / total).backward()  # type: ignore[no-untyped-call]
                summed += loss.item()
                nats.append(each.detach().numpy())
            norm = float(optimizer.clip(chosen.clip))
            optimizer.step(rate(schedule, step))
            optimizer.zero_grad()
            losses = by_source(
                np.concatenate(nats),
                batch.targets,
                batch.weights,
                batch.source,
                frozen.names,
                sizes,
            )
            every = sum(losses.values(), NOTHING)
            assert lines[step - 1] == {
                "step": step,
                "tokens": frozen.tokens_before(step),
                "loss": summed / total,
                "bits_per_byte": every.bits_per_byte,
                "lr": rate(schedule, step),
                "grad_norm": norm,
                "targets": every.tokens,
                "sources": {name: loss.to_json() for name, loss in losses.items()},
            }
    stored = at_step(whole, STEPS)
    moments = stored.moments()
    for name, value in stored.weights().items():
        assert torch.equal(value, optimizer.weights()[name]), name
        assert torch.equal(moments[f"mean.{name}"], optimizer.moments()[name][0]), name
        assert torch.equal(moments[f"square.{name}"], optimizer.moments()[name][1]), name


def test_next_token_prediction_adds_nothing_to_a_checkpoint(corpus: Corpus, whole: Path) -> None:
    assert record_of(NextToken(token_bytes(corpus.tokenizer))) is None
    newest = latest(whole)
    assert newest is not None
    facts = json.loads((Path(newest.folder) / "state.json").read_bytes())
    assert sorted(facts) == [
        "asked",
        "checksum",
        "files",
        "format",
        "history",
        "model",
        "optimizer",
        "parent",
        "plan_hash",
        "schedule",
        "seeds",
        "settings",
        "spikes",
        "step",
        "tokenizer_hash",
        "tokens",
    ]


def begin(corpus: Corpus, start: Start, *, seed: int = 1, model: Any = MODEL) -> Run:
    """A run that is about to make its first update."""
    frozen, config = plan(corpus, seed=seed), model.config(corpus.tokenizer.vocab_size)
    loader, objective = Loader(frozen, corpus.folders), NextToken(token_bytes(corpus.tokenizer))
    return Run.begin(frozen, loader, corpus.tokenizer, config, settings(), 1, start, objective)


def weights_checksum(checkpoint: Checkpoint) -> str:
    return checkpoint.state.files["weights.safetensors"].checksum
