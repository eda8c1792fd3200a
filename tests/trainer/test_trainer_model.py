"""Attention inside documents, the loss of a padded vocabulary, and the model compiled whole."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st

import trainer.model.decoder
from tests.oracles.document_batches import document_batch
from tests.oracles.plain_minicpm import plain_rotary
from trainer.model import Model, ModelConfig, init, parameter_groups
from trainer.model.rotary import rotation

CONFIG = ModelConfig(vocab_size=70, width=64, layers=2, heads=4, kv_heads=2, ff=160, head_dim=16)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Tensors this small run fastest on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model() -> Model:
    built = Model(CONFIG)
    init(built, CONFIG, seed=1)
    return built


@given(seed=st.integers(0, 10_000))
@settings(max_examples=8)
def test_documents_of_a_window_get_what_they_get_alone(model: Model, seed: int) -> None:
    batch = document_batch(CONFIG.vocab_size, rows=2, length=40, seed=seed)
    together = model(batch.tokens, batch.positions, batch.documents)
    for row, first, last in batch.spans:
        tokens = batch.tokens[row : row + 1, first:last]
        alone = model(tokens, torch.arange(last - first)[None], None)
        torch.testing.assert_close(together[row : row + 1, first:last], alone, atol=2e-5, rtol=1e-4)


def test_queries_and_keys_are_normed_head_by_head_before_they_are_turned() -> None:
    config = dataclasses.replace(CONFIG, qk_norm=True, layers=1)
    built = Model(config)
    init(built, config, seed=1)
    own = built.layers[0].attention
    gains = own.q_norm.weight, own.k_norm.weight
    assert all(gain.shape == (16,) and bool((gain == 1).all()) for gain in gains)
    with torch.no_grad():
        for number, gain in enumerate(gains):
            gain.copy_(torch.linspace(0.5, 1.5 + number, 16))
    x, positions = (
        torch.randn(1, 9, 64, generator=torch.Generator().manual_seed(1)),
        torch.arange(9),
    )
    angles = rotation(positions[None], 16, config.rotary)
    q, k, v = own.qkv(x)[0].view(9, 8, 16).split([4, 2, 2], 1)
    q, k = (
        plain_rotary(part / (part.square().mean(-1, keepdim=True) + 1e-5).sqrt() * gain, 10000.0)
        for part, gain in zip((q, k), gains, strict=True)
    )
    mixed = []
    for head in range(4):
        scores = q[:, head] @ k[:, head // 2].T / 4 + torch.full((9, 9), -torch.inf).triu(1)
        mixed.append(scores.softmax(-1) @ v[:, head // 2])
    expected = F.linear(torch.cat(mixed, -1), own.out.weight)
    torch.testing.assert_close(own(x, angles, None)[0], expected, atol=2e-6, rtol=1e-5)
    own(x, angles, None).sum().backward()
    assert all(gain.grad is not None and bool(gain.grad.any()) for gain in gains)
    names = parameter_groups(built, config, 0.01, 0.1)[2].names
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in names} >= {"q_norm", "k_norm"}


def test_no_gradient_crosses_from_a_document_or_from_a_later_token(model: Model) -> None:
    documents = torch.tensor([[1, 1, 1, 2, 2, 2, 2, 2]])
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4]])
    # each token once, so rows of the embedding tell who was looked at
    tokens = torch.arange(8)[None]
    model.zero_grad()
    model(tokens, positions, documents)[0, 5].sum().backward()
    assert model.embedding.grad is not None
    assert model.embedding.grad.any(1).nonzero()[:, 0].tolist() == [3, 4, 5]
    model.zero_grad()


def test_rows_of_one_document_need_no_mask_and_lose_nothing_by_one(model: Model) -> None:
    tokens = torch.randint(70, (2, 24), generator=torch.Generator().manual_seed(1))
    positions = torch.arange(24).expand(2, 24)
    plain = model(tokens, positions, None)
    assert torch.equal(model(tokens, positions, torch.tensor([[5], [9]]).expand(2, 24)), plain)
    tail = torch.cat([tokens, tokens[:, :1]], 1), torch.cat([positions, positions[:, :1]], 1)
    documents = torch.zeros(2, 25, dtype=torch.int32)
    documents[:, -1] = 1
    torch.testing.assert_close(model(*tail, documents)[:, :-1], plain, atol=2e-5, rtol=1e-4)


def test_loss_sums_by_weight_and_ignores_targets_without_one(model: Model) -> None:
    batch = document_batch(CONFIG.vocab_size, rows=3, length=20, seed=5)
    hidden = model(batch.tokens, batch.positions, batch.documents)
    loss, count, nll = model.loss(hidden, batch.targets, batch.weights)
    assert float(count) == float(batch.weights.sum())
    assert nll.shape == batch.targets.shape
    assert float(loss.detach()) == pytest.approx(float((nll * batch.weights).sum()), rel=1e-6)
    changed = torch.where(batch.weights == 0, 0, batch.targets)
    assert float(model.loss(hidden, changed, batch.weights)[0].detach()) == float(loss.detach())
    scores = model.logits(hidden)
    assert scores.shape == (3, 20, 70)
    torch.testing.assert_close(
        nll,
        F.cross_entropy(scores.flatten(0, 1), batch.targets.flatten(), reduction="none")
        .view(3, 20)
        .detach(),
    )


def test_without_gradients_the_loss_is_the_same(model: Model) -> None:
    batch = document_batch(CONFIG.vocab_size, rows=2, length=20, seed=6)
    hidden = model(batch.tokens, batch.positions, batch.documents)
    with_gradients = model.loss(hidden, batch.targets, batch.weights)[0]
    with torch.no_grad():
        assert torch.equal(
            model.loss(hidden, batch.targets, batch.weights)[0], with_gradients.detach()
        )


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_whole_the_model_gives_the_bits_of_eager(
    model: Model, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inductor has sines and cosines of its own, which differ by one rounding; so it gets those of
    eager. The rest is equal.
    """
    batch = document_batch(CONFIG.vocab_size, rows=2, length=20, seed=7)
    if backend == "inductor":
        angles = rotation(batch.positions, CONFIG.head_dim, model.rotary)
        monkeypatch.setattr(trainer.model.decoder, "rotation", lambda *_: angles)
    results = []
    for run in (model, torch.compile(model, fullgraph=True, backend=backend)):
        model.zero_grad()
        loss, _, nll = model.loss(run(batch.tokens, batch.positions), batch.targets, batch.weights)
        loss.backward()
        results.append([loss.detach(), nll, *(parameter.grad for parameter in model.parameters())])
    model.zero_grad()
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*results, strict=True))


@pytest.mark.slow
def test_the_model_needs_torch_and_numpy_alone(root: Path) -> None:
    others = [
        "pyarrow",
        "pydantic",
        "polars",
        "numba",
        "sentencepiece",
        "safetensors",
        "scipy",
        "datatrove",
    ]
    code = f"import sys, trainer.model.decoder; print([name for name in {others!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
