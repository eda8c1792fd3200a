"""AdamW, clipping and the gradient norm."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from artifacts.errors import UserError
from tests.oracles.document_batches import document_batch
from trainer.model import Model, ModelConfig, init, parameter_groups
from trainer.optimizer.adamw import AdamW, gradient_norm
from trainer.optimizer.rule import UpdateCount

CONFIG = ModelConfig(vocab_size=70, width=64, layers=1, heads=2, kv_heads=2, ff=96, head_dim=16)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Tensors this small run fastest on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def started(seed: int = 1) -> tuple[Model, AdamW]:
    model = Model(CONFIG)
    init(model, CONFIG, seed)
    return model, AdamW(parameter_groups(model, CONFIG, 0.01, 0.1), betas=(0.9, 0.95), eps=1e-8)


def update(model: Model, optimizer: AdamW, number: int, clip: float | None = 1.0) -> float:
    batch = document_batch(CONFIG.vocab_size, rows=2, length=24, seed=number)
    loss, count, _ = model.loss(
        model(batch.tokens, batch.positions, batch.documents), batch.targets, batch.weights
    )
    (loss / count).backward()
    norm = optimizer.clip(clip)
    optimizer.step(0.01 / number)
    optimizer.zero_grad()
    return norm


def bits(model: Model) -> list[bytes]:
    return [parameter.detach().numpy().tobytes() for parameter in model.parameters()]


def test_updates_are_the_same_bits_every_time() -> None:
    runs = []
    for _ in range(2):
        model, optimizer = started()
        norms = [update(model, optimizer, number) for number in range(1, 6)]
        runs.append((norms, bits(model)))
    assert runs[0] == runs[1]


def test_a_restored_optimizer_goes_on_with_the_same_bits() -> None:
    model, optimizer = started()
    for number in range(1, 4):
        update(model, optimizer, number)
    copy, resumed = started(seed=2)
    copy.load_state_dict(model.state_dict())
    resumed.restore(
        {
            name: (first.clone(), second.clone())
            for name, (first, second) in optimizer.moments().items()
        },
        optimizer.count,
    )
    assert bits(copy) == bits(model)
    for number in range(4, 8):
        assert update(copy, resumed, number) == update(model, optimizer, number)
    assert bits(copy) == bits(model)
    assert resumed.updates == optimizer.updates == 7


def test_moments_come_by_name_and_are_zero_before_the_first_update() -> None:
    model, optimizer = started()
    names = {name for name, _ in model.named_parameters()}
    assert set(optimizer.moments()) == names
    assert not any(moment.any() for pair in optimizer.moments().values() for moment in pair)
    update(model, optimizer, 1)
    assert all(second.any() for _, second in optimizer.moments().values())


def test_foreign_moments_are_refused() -> None:
    _, optimizer = started()
    moments, three = optimizer.moments(), UpdateCount(updates=3)
    with pytest.raises(UserError, match="another model"):
        optimizer.restore(
            {name: pair for name, pair in moments.items() if name != "embedding"}, three
        )
    with pytest.raises(UserError, match="shape"):
        optimizer.restore({**moments, "embedding": (torch.zeros(2, 2), torch.zeros(2, 2))}, three)


def test_padding_rows_stay_zero() -> None:
    model, optimizer = started()
    for number in range(1, 4):
        update(model, optimizer, number)
    assert model.embedding.shape[0] == 128
    assert not model.embedding[70:].any()
    assert model.embedding[:70].any(1).all()


def test_the_norm_is_that_of_all_gradients_and_clipping_keeps_their_direction() -> None:
    model, optimizer = started()
    batch = document_batch(CONFIG.vocab_size, rows=2, length=24, seed=1)
    loss, _, _ = model.loss(
        model(batch.tokens, batch.positions, batch.documents), batch.targets, batch.weights
    )
    loss.backward()
    gradients = torch.cat(
        [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    )
    expected = math.sqrt(math.fsum(value * value for value in gradients.tolist()))
    assert float(gradient_norm(model.parameters())) == pytest.approx(expected, rel=1e-12)
    assert expected > 1.0
    assert (
        optimizer.clip(None) == optimizer.clip(expected * 2) == pytest.approx(expected, rel=1e-12)
    )
    optimizer.clip(1.0)
    clipped = torch.cat(
        [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    )
    torch.testing.assert_close(clipped, gradients / expected)
    assert float(gradient_norm(model.parameters())) == pytest.approx(1.0, rel=1e-6)


def test_micro_batches_divided_by_all_weights_give_the_gradient_of_the_whole_batch() -> None:
    model, optimizer = started()
    batch = document_batch(CONFIG.vocab_size, rows=4, length=24, seed=2)

    def gradients(rows: int) -> torch.Tensor:
        optimizer.zero_grad()
        for start in range(0, 4, rows):
            part = slice(start, start + rows)
            hidden = model(batch.tokens[part], batch.positions[part], batch.documents[part])
            (
                model.loss(hidden, batch.targets[part], batch.weights[part])[0]
                / batch.weights.sum()
            ).backward()
        return torch.cat(
            [
                parameter.grad.flatten()
                for parameter in model.parameters()
                if parameter.grad is not None
            ]
        )

    whole = gradients(4)
    for rows in (1, 2):
        torch.testing.assert_close(gradients(rows), whole, atol=1e-6, rtol=1e-4)


def test_decay_shrinks_matrices_at_their_own_rate_and_leaves_gains_alone() -> None:
    model, optimizer = started()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.01)
    for name, parameter in model.named_parameters():
        # m = 64/256
        shrink = {"embedding": 1 - 0.01 * 0.1}.get(
            name, 1 - 0.04 * 0.1 if parameter.ndim == 2 else 1.0
        )
        torch.testing.assert_close(parameter.detach(), before[name] * shrink, rtol=1e-6, atol=0)
