"""The embedding: the kernels in the interpreter and the reference against torch in fp64, and
gradients added in place.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.trainer.kernels.judge import assert_as_good_as_torch, draw
from trainer.kernels.embedding import (
    CHUNK,
    PARTS,
    _add_token_gradients,
    _embedding,
    _embedding_backward,
    add_token_gradients_,
    embedding,
    launch_add_token_gradients,
    launch_embedding,
    launch_embedding_backward,
    torch_add_token_gradients,
    torch_embedding,
    torch_embedding_backward,
)

SCALE = 12.0
DTYPES = [torch.float32, torch.bfloat16]


def ids(count: int, rows: int, seed: int = 0) -> Tensor:
    return torch.randint(0, rows, (count,), generator=torch.Generator().manual_seed(seed))


def truth(
    tokens: Tensor, table: Tensor, dy: Tensor, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    wide = table.detach().to(dtype).requires_grad_()
    y = F.embedding(tokens, wide) * SCALE
    y.backward(dy.to(dtype))
    return y.detach(), wide.grad


def assert_right(tokens: Tensor, table: Tensor, dy: Tensor, kernel: bool) -> None:
    forward, backward = (
        (launch_embedding, launch_embedding_backward)
        if kernel
        else (torch_embedding, torch_embedding_backward)
    )
    found = forward(tokens, table, SCALE), backward(dy, tokens, table.shape[0], SCALE)
    for ours, plain, exact in zip(
        found, truth(tokens, table, dy, table.dtype), truth(tokens, table, dy), strict=True
    ):
        assert_as_good_as_torch(ours, plain, exact)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "reference"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [1, 7, 48, 256, 300])
def test_forward_and_backward_are_right(width: int, dtype: torch.dtype, kernel: bool) -> None:
    assert_right(
        ids(45, 12), draw(12, width, dtype=dtype), draw(45, width, dtype=dtype, seed=1), kernel
    )


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30)), max_size=6),
    st.booleans(),
    st.integers(0, 99),
)
def test_rows_of_any_number_of_tokens_are_summed(
    runs: list[tuple[int, int]], shuffled: bool, seed: int
) -> None:
    tokens = torch.tensor([token for token, times in runs for _ in range(times)], dtype=torch.int64)
    if shuffled:
        tokens = tokens[torch.randperm(len(tokens), generator=torch.Generator().manual_seed(seed))]
    assert_right(tokens, draw(6, 9, seed=seed), draw(len(tokens), 9, seed=seed + 1), kernel=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "count", [CHUNK, CHUNK + 1, CHUNK * PARTS, CHUNK * (PARTS + 1), CHUNK * (2 * PARTS + 3) + 5]
)
def test_one_token_that_fills_many_chunks_is_joined_in_rounds(count: int) -> None:
    tokens = torch.cat(
        [torch.tensor([0, 2]), torch.ones(count, dtype=torch.int64), torch.tensor([2])]
    )
    grad, dy = draw(4, 16, seed=3), draw(len(tokens), 16, seed=4)
    expected = grad.double().index_add(0, tokens, dy.double(), alpha=SCALE)
    launch_add_token_gradients(grad, tokens, dy, SCALE)
    torch.testing.assert_close(grad.double(), expected, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize(
    "add", [launch_add_token_gradients, torch_add_token_gradients, add_token_gradients_]
)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_are_added_to_those_that_are_there(add: object, dtype: torch.dtype) -> None:
    grad, tokens, dy = draw(9, 24), ids(60, 7).view(3, 20), draw(3, 20, 24, dtype=dtype, seed=1)
    before = grad.clone()
    add(grad, tokens, dy, SCALE)
    expected = before.double().index_add(
        0, tokens.flatten(), dy.flatten(0, 1).double(), alpha=SCALE
    )
    torch.testing.assert_close(grad.double(), expected, rtol=1e-6, atol=1e-5)
    assert torch.equal(grad[7:], before[7:]), "rows without tokens keep their bits"


def test_sums_run_in_the_order_of_positions() -> None:
    big = torch.tensor([[2.0**30], [-(2.0**30)], [1.0]])
    tokens = torch.tensor([3, 1, 3, 1, 3])
    dy = torch.cat([big[:1], torch.ones(1, 1), big[1:2], torch.ones(1, 1), big[2:]])
    assert launch_embedding_backward(dy, tokens, 4, 1.0).flatten().tolist() == [0.0, 2.0, 0.0, 1.0]
    other = dy[[0, 1, 4, 3, 2]]
    assert launch_embedding_backward(other, tokens, 4, 1.0).flatten().tolist() == [
        0.0,
        2.0,
        0.0,
        0.0,
    ]


@pytest.mark.slow
def test_the_kernels_give_the_same_bits_every_time() -> None:
    tokens, dy = ids(300, 5), draw(300, 40, seed=1)
    once, again = (launch_embedding_backward(dy, tokens, 5, SCALE) for _ in range(2))
    assert torch.equal(once, again)


def test_on_a_cpu_it_gives_the_bits_of_plain_torch_with_deterministic_algorithms() -> None:
    tokens, table, dy = ids(200, 30).view(4, 50), draw(30, 16), draw(4, 50, 16, seed=1)
    torch.use_deterministic_algorithms(True)
    try:
        results = []
        for lookup in (embedding, lambda tokens, table, scale: F.embedding(tokens, table) * scale):
            leaf = table.clone().requires_grad_()
            y = lookup(tokens, leaf, SCALE)
            y.backward(dy)
            results.append((y.detach(), leaf.grad))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_the_ops_keep_the_rules_of_custom_ops(dtype: torch.dtype) -> None:
    tokens, table = ids(10, 6).view(2, 5), draw(6, 8, dtype=dtype).requires_grad_()
    dy = draw(2, 5, 8, dtype=dtype)
    torch.library.opcheck(_embedding, (tokens, table, SCALE))
    torch.library.opcheck(_embedding_backward, (dy, tokens, 6, SCALE))
    torch.library.opcheck(_add_token_gradients, (draw(6, 8), tokens, dy, SCALE))


def test_gradients_are_those_of_finite_differences() -> None:
    tokens, table = ids(10, 4), draw(4, 3).double().requires_grad_()
    torch.autograd.gradcheck(lambda leaf: embedding(tokens, leaf, SCALE), (table,))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_compiled_whole_it_gives_the_bits_of_eager(dtype: torch.dtype) -> None:
    tokens = ids(24, 10)

    def step(table: Tensor) -> Tensor:
        return embedding(tokens, table, SCALE)

    results = []
    for run in (step, torch.compile(step, fullgraph=True)):
        table = draw(10, 8, dtype=dtype).requires_grad_()
        y = run(table)
        y.float().square().sum().backward()
        results.append((y.detach(), table.grad))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def tied(into: bool, batches: list[Tensor]) -> Tensor:
    """The gradient of a bf16 table that is embedding and head, over some micro-batches."""
    table = nn.Parameter(draw(12, 16, dtype=torch.bfloat16))
    table.grad_dtype = torch.float32
    for tokens in batches:
        rows = embedding(tokens, table, SCALE) if into else _embedding(tokens, table, SCALE)
        (torch.tanh(rows) @ table.T).float().square().sum().backward()
    assert table.grad.dtype == torch.float32
    return table.grad


@pytest.mark.skipif(
    not hasattr(torch.Tensor, "grad_dtype"),
    reason="this torch keeps gradients in their tensor's type",
)
def test_a_tied_heads_gradient_and_one_added_in_place_make_the_sum_of_both() -> None:
    for batches in ([ids(40, 12)], [ids(40, 12), ids(30, 12, seed=1), ids(9, 12, seed=2)]):
        usual, direct = tied(False, batches), tied(True, batches)
        wide = draw(12, 16, dtype=torch.bfloat16).double().requires_grad_()
        for tokens in batches:
            (torch.tanh(F.embedding(tokens, wide) * SCALE) @ wide.T).square().sum().backward()
        largest = wide.grad.abs().max()
        assert (direct - wide.grad).abs().max() < 0.02 * largest, (
            "both gradients are there, rounded to bf16 on their way"
        )
        torch.testing.assert_close(direct, usual, rtol=2**-7, atol=float(largest) * 2**-8)
        assert torch.equal(direct, tied(True, batches))


@pytest.mark.skipif(
    not hasattr(torch.Tensor, "grad_dtype"),
    reason="this torch keeps gradients in their tensor's type",
)
def test_a_table_without_head_gets_its_gradient_in_fp32_without_rounding() -> None:
    tokens, dy = ids(500, 3), draw(500, 8, dtype=torch.bfloat16, seed=1)
    table = nn.Parameter(draw(3, 8, dtype=torch.bfloat16))
    table.grad_dtype = torch.float32
    for _ in range(2):
        embedding(tokens, table, SCALE).backward(dy)
    expected = torch.zeros(3, 8).double().index_add(0, tokens, dy.double(), alpha=2 * SCALE)
    torch.testing.assert_close(table.grad.double(), expected, rtol=1e-6, atol=1e-3)
