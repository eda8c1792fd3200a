"""The loop: what it learns, what it writes, and that no interruption leaves a trace."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.lock import run_lock
from artifacts.paths import Store
from mixtures.freeze.freeze import append_segment
from mixtures.loader.loader import Loader
from mixtures.spec.spec import Phase
from tests.trainer import loop_runs
from tests.trainer.loop_corpus import Corpus, make_corpus, web, write_shards
from tests.trainer.loop_runs import (
    BATCH,
    DECAY,
    LENGTH,
    MIXED,
    MODEL,
    STABLE,
    WEB,
    plan,
    run,
    traces,
)
from trainer.checkpoints.checkpoint import at_step, latest, save, saved
from trainer.loop.metrics import read_series
from trainer.loop.run import StepReport
from trainer.loop.training import check_plan
from trainer.model import Model, init, parameter_groups
from trainer.objectives.losses import by_source, token_bytes
from trainer.objectives.next_token import batch_loss
from trainer.optimizer.adamw import gradient_norm

STEPS = STABLE + DECAY


def fresh_model(corpus: Corpus) -> Model:
    config = MODEL.config(corpus.tokenizer.vocab_size)
    model = Model(config)
    init(model, config, 1)
    return model


def test_metrics_have_each_step_once_with_the_rates_of_the_schedule(whole: Path) -> None:
    lines = read_series(whole)
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert [line["tokens"] for line in lines] == [BATCH * step for step in range(1, STEPS + 1)]
    lrs = [line["lr"] for line in lines]
    assert lrs[:8] == [0.02 * 1 / 3, 0.02 * 2 / 3, *[0.02] * 6]
    assert lrs[8:] == pytest.approx([0.02 * 0.1 ** (step / 4) for step in (1, 2, 3, 4)])
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.5
    assert [line["step"] for line in read_series(whole, "time")] == list(range(1, STEPS + 1))


def test_losses_by_source_make_up_the_loss(whole: Path) -> None:
    for line in read_series(whole):
        nats = sum(part["loss"] * part["tokens"] for part in line["sources"].values())
        assert sum(part["tokens"] for part in line["sources"].values()) == line["targets"]
        assert nats / line["targets"] == pytest.approx(line["loss"], rel=1e-6)
    assert set(read_series(whole)[0]["sources"]) == {"web", "code"}
    assert set(read_series(whole)[-1]["sources"]) == {"web", "chat"}


def test_checkpoints_are_kept_where_asked_and_where_segments_end(whole: Path) -> None:
    assert saved(Store(whole)) == [5, 8, 10, 12]
    found = latest(whole)
    assert found is not None
    assert found.state.seeds == {"init": 1, "plan": 1}
    assert found.state.schedule["decay_start"] == STABLE
    assert found.state.schedule["end"] == STEPS
    assert set(found.weights()) == {name for name, _ in Model(MODEL.config(384)).named_parameters()}
    assert not any("head" in name for name in found.weights())  # the tied table once


def test_validation_is_measured_on_schedule_and_at_the_ends_of_segments(whole: Path) -> None:
    lines = read_series(whole, "validation")
    assert [line["step"] for line in lines] == [4, 8, 12]
    assert set(lines[0]["sources"]) == {"web", "code", "chat"}
    for name in ("web", "code"):
        assert lines[-1]["sources"][name]["loss"] < lines[0]["sources"][name]["loss"]


@settings(max_examples=6)
@given(st.lists(st.integers(1, STEPS - 1), min_size=1, max_size=3))
def test_a_run_stopped_anywhere_and_resumed_is_bitwise_the_same(
    corpus: Corpus, whole: Path, tmp_path_factory: pytest.TempPathFactory, stops: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("stopped")
    for stop in [*sorted(stops), STEPS]:
        run(corpus, folder, until_step=stop)
    assert traces(folder) == traces(whole)
    assert saved(Store(folder)) == saved(Store(whole))


def test_a_signal_inside_a_call_is_reported_and_handlers_come_back(
    corpus: Corpus, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGINT)

    def interrupt(report: StepReport) -> None:
        if report.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    outcome = run(corpus, tmp_path, on_step=interrupt)
    assert (outcome.stopped_by, outcome.exit_code, outcome.step) == ("SIGINT", 130, 2)
    assert outcome.checkpoint.state.step == 2
    assert signal.getsignal(signal.SIGINT) is before
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_finished_run_resumed_does_nothing(corpus: Corpus, whole: Path) -> None:
    before = traces(whole)
    outcome = run(corpus, whole)
    assert (outcome.first_step, outcome.step, outcome.loss) == (STEPS, STEPS, None)
    assert outcome.checkpoint.state.step == STEPS
    assert traces(whole) == before


@settings(max_examples=8)
@given(st.integers(1, 8))
def test_micro_batches_change_rounding_only(corpus: Corpus, rows: int) -> None:
    # conversations: windows with few targets and with many
    batch = Loader(plan(corpus), corpus.folders).batch(STABLE)
    assert 0 < batch.weights.sum() < batch.weights.size
    losses, norms = [], []
    for windows in (len(batch.tokens), rows):
        model = fresh_model(corpus)
        losses.append(batch_loss(model, batch, windows, backward=True))
        norms.append(float(gradient_norm(model.parameters())))
    assert losses[1].loss == pytest.approx(losses[0].loss, abs=1e-6)
    assert norms[1] == pytest.approx(norms[0], rel=1e-5)
    assert np.abs(losses[1].nats - losses[0].nats).max() < 1e-4


def test_the_loss_is_that_of_the_whole_batch_computed_naively(corpus: Corpus) -> None:
    batch = Loader(plan(corpus), corpus.folders).batch(STABLE)
    model = fresh_model(corpus)
    found = batch_loss(model, batch, 3, backward=False)
    tokens, positions, documents, targets = (
        torch.from_numpy(a).long()
        for a in (batch.tokens, batch.positions, batch.documents, batch.targets)
    )
    scores = model.logits(model(tokens, positions, documents)).double()
    nats = (
        torch.nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="none")
        .detach()
        .numpy()
    )
    weights = batch.weights.astype(np.float64).ravel()
    assert found.loss == pytest.approx((nats * weights).sum() / weights.sum(), rel=1e-5)
    assert found.targets == weights.sum()


def test_a_batch_without_targets_has_no_loss_and_no_gradient(corpus: Corpus) -> None:
    batch = Loader(plan(corpus), corpus.folders).batch(0)
    batch.weights[:] = 0
    model = fresh_model(corpus)
    assert math.isnan(batch_loss(model, batch, 4, backward=True).loss)
    assert float(gradient_norm(model.parameters())) == 0


def test_bits_per_byte_count_the_bytes_of_targets(corpus: Corpus) -> None:
    tokenizer = corpus.tokenizer
    text = "the river, 春天\n"
    ids = tokenizer.encode_text(text)
    targets = np.array([[*ids, tokenizer.eos_id], [*ids, tokenizer.eos_id]])
    weights = np.ones(targets.shape, np.float32)
    weights[1, :] = 0
    sizes = token_bytes(tokenizer)
    nats = np.full(targets.shape, 2.0, np.float32)
    found = by_source(nats, targets, weights, np.array([1, 0], np.int32), ["a", "b"], sizes)
    assert found["b"].bytes == len(text.encode())
    assert found["b"].bits_per_byte == pytest.approx(
        2.0 * len(targets[0]) / math.log(2) / len(text.encode())
    )
    assert math.isnan(found["a"].per_token)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (
            {"settings": loop_runs.settings(schedule={"peak": 0.01, "warmup": 3})},
            "learning rate of step 1",
        ),
        ({"settings": loop_runs.settings(seed=2)}, "train.seed"),
        ({"settings": loop_runs.settings(clip=None)}, "train.clip"),
        ({"model": MODEL.model_copy(update={"layers": 3})}, "model.layers"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    corpus: Corpus, whole: Path, change: dict[str, object], field: str
) -> None:
    with pytest.raises(UserError, match="trained otherwise") as error:
        run(corpus, whole, **change)
    assert error.value.field == field


def test_a_plan_that_does_not_continue_the_checkpoints_plan_is_refused(
    corpus: Corpus, whole: Path
) -> None:
    with pytest.raises(UserError, match="does not continue") as error:
        run(corpus, whole, plan=plan(corpus, seed=2))
    assert error.value.field == "plan"


def test_a_run_goes_on_with_a_longer_plan_as_if_it_had_been_so_from_the_start(
    corpus: Corpus, tmp_path: Path
) -> None:
    short = plan(corpus, WEB)
    longer = append_segment(
        short, Phase(name="more", tokens=4 * BATCH, weights={"web": 1.0}), STABLE
    )
    run(corpus, tmp_path / "grown", plan=short, until_step=6)
    run(corpus, tmp_path / "grown", plan=longer)
    run(corpus, tmp_path / "straight", plan=longer)
    assert traces(tmp_path / "grown") == traces(tmp_path / "straight")
    found = latest(tmp_path / "grown")
    assert found is not None
    assert [stretch.plan_hash for stretch in found.state.history] == [short.hash, longer.hash]
    assert [stretch.from_step for stretch in found.state.history] == [0, 6]


@pytest.mark.parametrize(
    "file",
    ["weights.safetensors", "moments.safetensors", "plan.json", "tokenizer.model", "state.json"],
)
def test_a_corrupt_checkpoint_stops_the_run_instead_of_being_skipped(
    corpus: Corpus, whole: Path, tmp_path: Path, file: str
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "step-00000012" / file
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(bytes(raw))
    with pytest.raises(UserError) as error:
        run(corpus, tmp_path / "run")
    assert error.value.file == str(path)
    assert error.value.fix
    assert re.search(r"[0-9a-f]{32}|not JSON|format", error.value.render())
    # nothing was touched
    assert [line["step"] for line in read_series(tmp_path / "run")] == list(range(1, 13))


def test_a_checkpoint_of_another_tokenizer_and_weights_of_another_model_are_refused(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    other = make_corpus(tmp_path / "other", vocab_size=390)
    with pytest.raises(UserError, match="trained otherwise") as error:
        run(other, whole)
    assert (error.value.field, error.value.found, error.value.allowed) == (
        "tokenizer",
        other.tokenizer.hash,
        [corpus.tokenizer.hash],
    )
    run(corpus, tmp_path / "wide", model=MODEL.model_copy(update={"ff": 64}), until_step=1)
    small, wide = at_step(whole, 12), at_step(tmp_path / "wide", 1)
    forged = save(
        Store(tmp_path / "forged"),
        small.state.model_copy(update={"files": {}}),
        wide.weights(),
        wide.moments(),
        {"plan.json": b"{}"},
    )
    with pytest.raises(UserError, match="of another model") as error:
        run(corpus, tmp_path / "forged")
    assert error.value.file == forged.folder
    assert error.value.field == "layers.0.feed_forward.down.weight"


def test_a_run_computes_in_fp32_whatever_torch_was_set_to(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    try:
        run(corpus, tmp_path, settings=loop_runs.settings(precision="fp32"))
        assert (torch.get_default_dtype(), torch.get_float32_matmul_precision()) == (
            torch.float64,
            "medium",
        )
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
    assert traces(tmp_path) == traces(whole)
    found = latest(whole)
    assert found is not None
    assert found.state.settings["precision"] == "fp32", "auto is recorded as what it came to"
    assert {tensor.dtype for tensor in found.weights().values()} == {torch.float32}


def test_a_second_trainer_and_a_second_first_run_are_refused(corpus: Corpus, whole: Path) -> None:
    with (
        run_lock(Store(whole / "checkpoints")),
        pytest.raises(UserError, match="another run is writing here"),
    ):
        run(corpus, whole)
    with pytest.raises(UserError, match="a run is here already"):
        run(corpus, whole, resume=False)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(
    corpus: Corpus, tmp_path: Path
) -> None:
    huge = loop_runs.settings(schedule={"peak": 1e30, "warmup": 0}, checkpoint_every=1)
    with pytest.raises(UserError, match="not finite") as error:
        run(corpus, tmp_path, settings=huge)
    assert error.value.field == "train.schedule.peak"
    found = latest(tmp_path)
    assert found is not None
    assert found.state.step == len(read_series(tmp_path)) > 0


def test_plan_settings_and_tokenizer_must_fit_together(corpus: Corpus) -> None:
    frozen = plan(corpus)
    check_plan(frozen, loop_runs.settings(), corpus.tokenizer)
    with pytest.raises(UserError) as error:
        check_plan(frozen, loop_runs.settings(sequence_length=64), corpus.tokenizer)
    assert error.value.field == "train.sequence_length"
    with pytest.raises(UserError) as error:
        check_plan(frozen, loop_runs.settings(batch_tokens=512), corpus.tokenizer)
    assert error.value.field == "train.batch_tokens"


def test_a_held_out_source_shorter_than_a_window_is_measured_but_not_as_windows(
    corpus: Corpus, tmp_path: Path
) -> None:
    import pyarrow as pa

    texts = pa.array(web(1, 1), pa.large_string()).cast(pa.large_string())
    short = pa.array([text[:9] for text in texts.to_pylist()], pa.large_string())
    folder = write_shards(
        tmp_path / "short",
        "short",
        corpus.tokenizer.encode(short, eos=True),
        None,
        corpus.tokenizer,
    )
    held = {"web-validation": folder}
    windows = loop_runs.settings(validation_rule="windows")
    with pytest.raises(UserError, match="do not fill one window"):
        run(corpus, tmp_path / "run", validation=held, settings=windows)
    assert not (tmp_path / "run" / "metrics").exists()
    run(corpus, tmp_path / "run", validation=held, until_step=4)
    (line,) = read_series(tmp_path / "run", "validation")
    (tokens,) = (len(row) for row in corpus.tokenizer.encode(short, eos=True).to_pylist())
    assert (line["sources"]["web"]["documents"], line["sources"]["web"]["tokens"]) == (1, tokens)


def test_gradients_are_clipped_after_their_norm_is_logged(corpus: Corpus, tmp_path: Path) -> None:
    run(corpus, tmp_path / "clipped", settings=loop_runs.settings(clip=0.001), until_step=2)
    run(corpus, tmp_path / "free", settings=loop_runs.settings(clip=None), until_step=2)
    clipped, free = (read_series(tmp_path / name) for name in ("clipped", "free"))
    assert clipped[0]["grad_norm"] == free[0]["grad_norm"] > 0.001
    moments = [at_step(tmp_path / name, 2).moments() for name in ("clipped", "free")]
    sizes = [
        math.sqrt(
            sum(
                float(value.double().square().sum())
                for name, value in found.items()
                if name.startswith("mean.")
            )
        )
        for found in moments
    ]
    assert sizes[0] < 0.001 < sizes[1]


def test_state_json_is_readable_by_anyone(whole: Path, corpus: Corpus) -> None:
    facts = json.loads((whole / "checkpoints" / "step-00000008" / "state.json").read_text())
    assert (facts["format"], facts["step"], facts["tokens"]) == ("checkpoint/1", 8, 8 * BATCH)
    assert facts["plan_hash"] == plan(corpus).hash
    assert facts["settings"]["sequence_length"] == LENGTH
    assert facts["history"][0]["threads"] == 1


def test_groups_of_the_small_model_cover_every_parameter_once(corpus: Corpus) -> None:
    model = fresh_model(corpus)
    names = [
        name for group in parameter_groups(model, model.config, 0.1, 0.1) for name in group.names
    ]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert MIXED.weights["chat"] == 0.5
