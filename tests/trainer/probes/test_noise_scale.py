"""The gradient noise scale: from gradients of known noise, and from a training's own."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from mixtures.loader.loader import Loader
from tests.trainer import loop_runs
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import BATCH, LENGTH, MODEL, STABLE, plan, run
from trainer.checkpoints.checkpoint import at_step
from trainer.checkpoints.weights import model_of
from trainer.loop.metrics import read_series
from trainer.objectives.next_token import batch_loss
from trainer.probes.noise_scale import ALL, Noise, NoiseMeans, NoiseScale
from trainer.probes.probe import Steps

SIZE, TRACE, SIGNAL = 1000, 0.9, 4.0


def drawn(draws: np.random.Generator, sequences: list[int]) -> Noise:
    """The estimates from gradients G + noise of variance 0.9/b in each of 1,000 places."""
    true = np.full(SIZE, math.sqrt(SIGNAL / SIZE))
    parts = [true + draws.normal(0, math.sqrt(TRACE / rows), SIZE) for rows in sequences]
    whole = np.average(parts, axis=0, weights=sequences)
    squares = [
        (float(rows), float(part @ part)) for rows, part in zip(sequences, parts, strict=True)
    ]
    found = Noise.of_parts(squares, float(whole @ whole))
    assert found is not None
    return found


@pytest.mark.parametrize("sequences", [[4] * 8, [1, 2, 3, 4, 5, 5, 6, 6]])
def test_both_estimates_are_unbiased_and_the_ratio_is_that_of_their_means(
    sequences: list[int],
) -> None:
    draws = np.random.default_rng(1)
    means = NoiseMeans(math.inf)
    estimates = [drawn(draws, sequences) for _ in range(1000)]
    for noise in estimates:
        means.add({ALL: noise})
    found = means.mean()
    assert found is not None
    assert found.scale is not None
    errors = [
        np.std([getattr(noise, name) for noise in estimates]) / math.sqrt(len(estimates))
        for name in ("noise", "signal")
    ]
    assert found.noise == pytest.approx(TRACE * SIZE, abs=4 * errors[0])
    assert found.signal == pytest.approx(SIGNAL, abs=4 * errors[1])
    assert found.scale == pytest.approx(225, rel=0.05)
    cosine = found.cosine(32)
    assert cosine is not None
    assert cosine == pytest.approx(1 / (1 + found.scale / 32))


def test_the_cosine_of_independent_batches_is_what_the_noise_alone_gives() -> None:
    draws = np.random.default_rng(2)
    true = np.full(SIZE, math.sqrt(SIGNAL / SIZE))
    cosines = []
    for _ in range(400):
        one, other = (true + draws.normal(0, math.sqrt(TRACE / 32), SIZE) for _ in "ab")
        cosines.append(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    error = np.std(cosines) / math.sqrt(len(cosines))
    said = Noise(SIGNAL, TRACE * SIZE).cosine(32)
    assert said == pytest.approx(1 / (1 + 225 / 32))
    assert np.mean(cosines) == pytest.approx(said, abs=4 * error)


@given(
    st.lists(st.tuples(st.floats(0.5, 9), st.floats(0.1, 1e6)), min_size=2, max_size=6),
    st.floats(0, 1e6),
)
def test_equal_parts_give_the_formula_of_the_paper(
    parts: list[tuple[float, float]], whole: float
) -> None:
    rows = parts[0][0]
    squares = [square for _, square in parts]
    found = Noise.of_parts([(rows, square) for square in squares], whole)
    batch, mean = rows * len(parts), sum(squares) / len(parts)
    assert found is not None
    size = max(mean, whole) * batch
    noise = (mean - whole) / (1 / rows - 1 / batch)
    assert found.noise == pytest.approx(noise, abs=1e-9 * size)
    signal = (batch * whole - rows * mean) / (batch - rows)
    assert found.signal == pytest.approx(signal, abs=1e-9 * size)


@pytest.mark.parametrize("parts", [[], [(4.0, 2.0)], [(4.0, 2.0), (0.0, 0.0)]])
def test_fewer_than_two_parts_say_nothing(parts: list[tuple[float, float]]) -> None:
    assert Noise.of_parts(parts, 1.0) is None


def test_no_signal_gives_no_scale() -> None:
    assert Noise(-1.0, 5.0).scale is None
    assert Noise(0.0, 0.0).cosine(8) is None


@pytest.mark.parametrize("half_life", [0.0, -1.0, math.nan])
def test_a_half_life_is_above_zero(half_life: float) -> None:
    with pytest.raises(UserError):
        NoiseScale(half_life=half_life)


def test_a_step_of_ago_counts_half_after_a_half_life() -> None:
    means = NoiseMeans(2.0)
    for signal in (1.0, 1.0, 4.0):
        means.add({ALL: Noise(signal, 0.0)})
    found = means.mean()
    weights = np.array([0.5, 0.5**0.5, 1.0])
    assert found is not None
    assert found.signal == pytest.approx(weights @ [1.0, 1.0, 4.0] / weights.sum())
    again = NoiseMeans(2.0)
    again.restore(means.state())
    assert again.mean() == found


def test_a_training_measures_the_gradients_of_its_micro_batches(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    """Windows of conversations have few targets and many: a part counts by its targets."""
    step = STABLE + 1
    stable = at_step(whole, STABLE)
    steps = Steps(first=step, last=step)
    run(corpus, tmp_path, start=stable, probes=[NoiseScale(steps)])
    (line,) = read_series(tmp_path, "probe-noise_scale")
    assert (line["step"], line["micro_batches"], line["sequences"]) == (step, 3, 8)

    batch = Loader(plan(corpus), corpus.folders).batch(STABLE)
    shares, vectors = [], []
    for rows in (slice(0, 3), slice(3, 6), slice(6, 8)):
        only = Loader(plan(corpus), corpus.folders).batch(STABLE)
        kept = np.zeros(len(only.tokens), bool)
        kept[rows] = True
        only.weights[~kept] = 0
        model = model_of(stable)
        batch_loss(model, only, 8, backward=True)
        grads = [parameter.grad.double().flatten() for parameter in model.parameters()]
        vectors.append(np.concatenate([grad.numpy() for grad in grads]))
        shares.append(float(only.weights.sum() / batch.weights.sum()))
    assert shares != pytest.approx([3 / 8, 3 / 8, 2 / 8], rel=0.01)
    mean = np.average(vectors, axis=0, weights=shares)
    parts = [
        (8 * share, float(vector @ vector)) for share, vector in zip(shares, vectors, strict=True)
    ]
    expected = Noise.of_parts(parts, float(mean @ mean))
    assert expected is not None
    found = line["groups"]["all"]
    assert found["noise"] == pytest.approx(expected.noise, rel=1e-4)
    assert found["signal"] == pytest.approx(expected.signal, rel=1e-3)
    groups = [line["groups"][name] for name in ("hidden", "embedding", "gain")]
    for figure in ("signal", "noise"):
        total = sum(group[figure] for group in groups)
        assert total == pytest.approx(found[figure], rel=1e-9)
    if found["scale_tokens"] is not None:
        assert found["scale_tokens"] == found["scale_sequences"] * LENGTH


def test_one_micro_batch_is_an_error_whose_fix_works(corpus: Corpus, tmp_path: Path) -> None:
    chosen = loop_runs.settings(micro_batch_tokens=BATCH)
    with pytest.raises(UserError) as error:
        run(corpus, tmp_path, settings=chosen, probes=[NoiseScale()])
    assert error.value.field == "train.micro_batch_tokens"
    assert f"at most {BATCH // 2}," in str(error.value.fix)
    fixed = loop_runs.settings(micro_batch_tokens=BATCH // 2)
    run(corpus, tmp_path, settings=fixed, until_step=1, probes=[NoiseScale()])
    assert read_series(tmp_path, "probe-noise_scale")[0]["micro_batches"] == 2


def test_only_the_steps_asked_for_have_lines(corpus: Corpus, tmp_path: Path) -> None:
    probe = NoiseScale(Steps(first=2, last=8, every=3))
    run(corpus, tmp_path, model=MODEL, probes=[probe])
    assert [line["step"] for line in read_series(tmp_path, "probe-noise_scale")] == [2, 5, 8]
