"""AdamW on fp32 masters: the update a GPU makes, by the references of its kernels and by the
kernels interpreted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.oracles.document_batches import document_batch
from trainer.kernels.adamw import BLOCK, launch_adamw
from trainer.kernels.gradient_norm import CHUNK, launch_gradient_norm
from trainer.kernels.tensor_table import TensorTable
from trainer.model import Model, ModelConfig, init, parameter_groups
from trainer.optimizer import master_weights
from trainer.optimizer.adamw import AdamW, TorchUpdate
from trainer.optimizer.master_weights import MasterUpdate

CONFIG = ModelConfig(vocab_size=70, width=64, layers=1, heads=2, kv_heads=2, ff=96, head_dim=16)
BETAS, EPS, DECAY = (0.9, 0.95), 1e-8, 0.1


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Tensors this small run fastest on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launch the kernels themselves, on the host."""

    def update(table: TensorTable, *tensors: Any, betas: tuple[float, float], eps: float) -> None:
        *lists, rules, scalars = tensors
        launch_adamw(
            *lists,
            table.addresses(lists[1]),
            table.blocks(BLOCK),
            table.even,
            rules,
            scalars,
            *betas,
            eps,
        )

    def norm(
        table: TensorTable, gradients: list[Tensor | None], limit: float | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        addresses = table.addresses(gradients)
        return launch_gradient_norm(
            gradients,
            addresses,
            table.blocks(CHUNK),
            table.even,
            math.inf if limit is None else limit,
        )

    monkeypatch.setattr(master_weights, "adamw_", update)
    monkeypatch.setattr(master_weights, "gradient_norm", norm)


def started(compute: torch.dtype | None = torch.bfloat16, seed: int = 1) -> tuple[Model, AdamW]:
    model = Model(CONFIG)
    init(model, CONFIG, seed)
    return model, AdamW(
        parameter_groups(model, CONFIG, 0.01, DECAY), betas=BETAS, eps=EPS, compute=compute
    )


def backward(model: Model, number: int) -> Tensor:
    batch = document_batch(CONFIG.vocab_size, rows=2, length=24, seed=number)
    loss, count, _ = model.loss(
        model(batch.tokens, batch.positions, batch.documents), batch.targets, batch.weights
    )
    (loss / count).backward()
    return (loss / count).detach()


def update(model: Model, optimizer: AdamW, number: int) -> float:
    backward(model, number)
    norm = float(optimizer.clip(1.0))
    optimizer.step(0.01 / number)
    optimizer.zero_grad()
    return norm


def bits(optimizer: AdamW) -> list[bytes]:
    tensors = [
        *optimizer.weights().values(),
        *(moment for pair in optimizer.moments().values() for moment in pair),
    ]
    return [tensor.detach().numpy().tobytes() for tensor in tensors]


def assert_as_torchs_own() -> None:
    """Four updates of fp32 parameters that are their own masters, beside torch's."""
    plain, _ = started(None)
    model, _ = started(None)
    groups = [parameter_groups(one, CONFIG, 0.01, DECAY) for one in (plain, model)]
    reference, masters = (
        TorchUpdate(groups[0], BETAS, EPS),
        MasterUpdate(groups[1], BETAS, EPS, torch.float32),
    )
    for number in range(1, 5):
        for other, own in zip(plain.parameters(), model.parameters(), strict=True):
            other.grad = torch.randn(own.shape, generator=torch.Generator().manual_seed(number))
            own.grad = other.grad.clone()
        norms = [float(one.clip(1.0, None)) for one in (reference, masters)]
        assert norms[1] == pytest.approx(norms[0], rel=1e-6)
        assert norms[0] > 1
        for one in (reference, masters):
            one.step(0.01)
    assert masters.updates == reference.updates == 4
    for other, own in zip(plain.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)
    for expected, found in zip(reference.moments(), masters.moments(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)


def test_fp32_parameters_are_updated_as_by_torchs_own() -> None:
    assert_as_torchs_own()


@pytest.mark.usefixtures("interpreted")
def test_the_kernels_themselves_update_as_torchs_own() -> None:
    assert_as_torchs_own()


def assert_copies_follow(optimizer: AdamW, rounding: float) -> None:
    for name, master in optimizer.weights().items():
        copy = optimizer.named[name]
        assert (master.dtype, copy.dtype) == (torch.float32, torch.bfloat16)
        assert bool(((copy.float() - master).abs() <= master.abs() * rounding).all()), name


def test_the_model_holds_rounded_copies_of_the_masters() -> None:
    fp32, _ = started(None)
    model, optimizer = started()
    assert all(
        torch.equal(optimizer.weights()[name], value) for name, value in fp32.named_parameters()
    )
    assert_copies_follow(optimizer, 2**-8)
    for number in range(1, 4):
        update(model, optimizer, number)
    assert_copies_follow(optimizer, 2**-8)
    assert not torch.equal(optimizer.weights()["embedding"], fp32.embedding)


@pytest.mark.usefixtures("interpreted")
def test_the_kernels_themselves_write_the_copies() -> None:
    model, optimizer = started()
    for number in range(1, 3):
        update(model, optimizer, number)
    assert_copies_follow(optimizer, 2**-7)


def test_masters_keep_changes_that_bf16_cannot_hold() -> None:
    parameter = nn.Parameter(torch.ones(64))
    group = master_weights.ParameterGroup("gain", ("gain",), (parameter,), 1.0, 1e-4, 0.0)
    optimizer = AdamW([group], betas=BETAS, eps=EPS, compute=torch.bfloat16)
    for _ in range(10):
        parameter.grad = torch.ones(64)
        optimizer.step(1e-4)
    assert bool((parameter == 1).all()), "each change is a fortieth of bf16's distance of values"
    torch.testing.assert_close(
        optimizer.weights()["gain"], torch.full((64,), 1 - 10 * 1e-4), rtol=1e-6, atol=0
    )
    for _ in range(20):
        parameter.grad = torch.ones(64)
        optimizer.step(1e-4)
    assert bool((parameter < 1).all())


@pytest.mark.skipif(
    not hasattr(torch.Tensor, "grad_dtype"),
    reason="this torch keeps gradients in their tensor's type",
)
def test_gradients_of_bf16_parameters_are_summed_in_fp32() -> None:
    model, _ = started()
    shares = []
    for number in range(1, 4):
        for parameter in model.parameters():
            parameter.grad = None
        backward(model, number)
        shares.append(model.layers[0].feed_forward.down.weight.grad.clone())
    for parameter in model.parameters():
        parameter.grad = None
    for number in range(1, 4):
        backward(model, number)
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(
        model.layers[0].feed_forward.down.weight.grad, shares[0] + shares[1] + shares[2]
    )


def test_gradients_are_close_to_those_in_fp32() -> None:
    fp32, _ = started(None)
    model, _ = started()
    losses = [backward(one, 1) for one in (fp32, model)]
    assert losses[1] == pytest.approx(float(losses[0]), rel=0.01)
    for (name, exact), found in zip(fp32.named_parameters(), model.parameters(), strict=True):
        error = torch.linalg.vector_norm(
            found.grad.float() - exact.grad
        ) / torch.linalg.vector_norm(exact.grad)
        assert error < 0.1, name  # rounding the weights alone makes 0.024 in this shape


def test_updates_are_the_same_bits_every_time_also_from_stored_state() -> None:
    model, optimizer = started()
    for number in range(1, 4):
        update(model, optimizer, number)
    copy, resumed = started(seed=2)
    resumed.load({name: value.clone() for name, value in optimizer.weights().items()})
    resumed.restore(
        {
            name: (first.clone(), second.clone())
            for name, (first, second) in optimizer.moments().items()
        },
        optimizer.count,
    )
    for number in range(4, 7):
        assert update(copy, resumed, number) == update(model, optimizer, number)
    assert bits(resumed) == bits(optimizer)
    assert resumed.updates == optimizer.updates == 6
    assert all(
        torch.equal(one, other)
        for one, other in zip(copy.parameters(), model.parameters(), strict=True)
    )


@pytest.mark.parametrize("compute", [None, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("what", ["gradient", "loss"])
def test_a_figure_that_is_not_finite_leaves_everything_as_it_was(
    compute: torch.dtype | None, what: str
) -> None:
    model, optimizer = started(compute)
    update(model, optimizer, 1)
    before = bits(optimizer)
    loss = backward(model, 2)
    if what == "gradient":
        model.final_norm.weight.grad[3] = torch.nan
    optimizer.clip(1.0, torch.tensor(torch.inf) if what == "loss" else loss)
    optimizer.step(0.01)
    optimizer.zero_grad()
    assert bits(optimizer) == before
    assert optimizer.updates == 1
    update(model, optimizer, 2)
    assert (optimizer.updates, bits(optimizer) != before) == (2, True)


def test_clipping_that_was_measured_counts_for_one_step() -> None:
    _, optimizer = started()
    sizes = []
    for clip in (True, False):
        for parameter in optimizer.named.values():
            parameter.grad = torch.full_like(parameter, 3.0, dtype=torch.float32)
        if clip:
            optimizer.clip(1e-3)
        before = {name: first.clone() for name, (first, _) in optimizer.moments().items()}
        optimizer.step(0.0)
        sizes.append(
            max(
                float((first - BETAS[0] * before[name]).abs().max())
                for name, (first, _) in optimizer.moments().items()
            )
        )
    assert sizes[0] < 1e-4 < 0.29 < sizes[1]


def test_parameters_that_cannot_be_masters_are_refused() -> None:
    model = Model(CONFIG).to(torch.bfloat16)
    with pytest.raises(ValueError, match="fp32"):
        AdamW(parameter_groups(model, CONFIG, 0.01, DECAY), compute=torch.bfloat16)


class Reads(TorchDispatchMode):
    """Counts the reads of a tensor by the host."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
        )
        return func(*args, **(kwargs or {}))


def test_clipping_and_stepping_read_nothing_back() -> None:
    model, optimizer = started()
    loss = backward(model, 1)
    with Reads() as reads:
        norm = optimizer.clip(1.0, loss)
        optimizer.step(0.01)
        optimizer.zero_grad()
    assert reads.count == 0
    with reads:
        assert float(norm) > 0
    assert reads.count == 1, "the count counts"
