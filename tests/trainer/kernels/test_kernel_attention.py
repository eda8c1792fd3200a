"""Attention inside documents: offsets against the mask, packed documents against documents one by
one, the mask path's bits.
"""

from __future__ import annotations

import inspect

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import varlen

from tests.trainer.kernels.judge import draw
from trainer.kernels import attention as module
from trainer.kernels.attention import (
    attention,
    device_offsets,
    document_bounds,
    host_offsets,
    mask_of,
)
from trainer.kernels.attention_mask import document_mask

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=8)


def packed(rows: list[list[int]]) -> Tensor:
    """Rows of documents of these lengths, cut to the shortest row; numbers start anew in each row,
    as the loader's do.
    """
    tokens = min(map(sum, rows))
    return torch.tensor(
        [
            [number for number, length in enumerate(row) for _ in range(length)][:tokens]
            for row in rows
        ]
    )


def full_mask(documents: Tensor) -> Tensor:
    mask = document_mask(documents)
    tokens = documents.shape[1]
    return (
        torch.ones(tokens, tokens, dtype=torch.bool).tril().expand(len(documents), 1, -1, -1)
        if mask is None
        else mask
    )


@given(rows=st.lists(LENGTHS, min_size=1, max_size=4))
@settings(max_examples=60)
def test_offsets_of_host_and_device_mean_the_mask(rows: list[list[int]]) -> None:
    documents = packed(rows)
    for offsets in (torch.from_numpy(host_offsets(documents.numpy())), device_offsets(documents)):
        assert offsets.dtype == torch.int32
        assert offsets[0] == 0
        assert bool((offsets.diff() >= 0).all())
        assert offsets[-1] == documents.numel()
        assert torch.equal(mask_of(offsets, *documents.shape), full_mask(documents))


@given(rows=st.lists(LENGTHS, min_size=1, max_size=4))
@settings(max_examples=30)
def test_offsets_have_few_shapes_on_the_host_and_one_on_the_device(rows: list[list[int]]) -> None:
    documents = packed(rows)
    places = len(host_offsets(documents.numpy())) - 1
    assert places & (places - 1) == 0
    assert places < 2 * sum(len(row.unique()) for row in documents)
    assert len(device_offsets(documents)) == documents.numel() + 1


def test_neighbouring_rows_of_one_number_are_two_documents() -> None:
    assert host_offsets(torch.tensor([[5, 5], [5, 5]]).numpy()).tolist() == [0, 2, 4]


def document_by_document(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool = False,
) -> Tensor:
    """What ``varlen_attn``, which needs a GPU, has to give: causal attention of each document on
    its own.
    """
    assert window_size == (-1, 0)
    assert torch.equal(cu_seq_q, cu_seq_k)
    assert enable_gqa or query.shape[1] == key.shape[1]
    lengths = cu_seq_q.diff().tolist()
    assert max(lengths) <= max_q == max_k
    pieces = zip(
        *(part.transpose(0, 1).split(lengths, dim=1) for part in (query, key, value)), strict=True
    )
    mixed = [
        F.scaled_dot_product_attention(*piece, is_causal=True, scale=scale, enable_gqa=enable_gqa)
        for piece in pieces
        if piece[0].numel()
    ]
    return torch.cat(mixed, dim=1).transpose(0, 1)


@pytest.mark.parametrize("own_groups", [True, False], ids=["enable_gqa", "repeated keys"])
@pytest.mark.parametrize(
    "offsets_of",
    [lambda d: torch.from_numpy(host_offsets(d.numpy())), device_offsets],
    ids=["host", "device"],
)
def test_documents_end_to_end_are_attention_under_the_mask(
    monkeypatch: pytest.MonkeyPatch, offsets_of, own_groups: bool
) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", document_by_document)
    known = inspect.signature(document_by_document).parameters.keys() - (
        set() if own_groups else {"enable_gqa"}
    )
    monkeypatch.setattr(module, "_varlen_parameters", lambda: frozenset(known))
    documents = packed([[3, 9, 1, 4], [17], [1, 1, 15]])
    shapes = [(3, heads, 17, 8) for heads in (6, 2, 2)]
    leaves = [draw(*shape, seed=seed).requires_grad_() for seed, shape in enumerate(shapes)]
    upward = draw(3, 6, 17, 8, seed=9)
    results = []
    for run in (
        lambda: module._packed(*leaves, 0.3, offsets_of(documents)),
        lambda: attention(*leaves, 0.3, document_mask(documents)),
    ):
        mixed = run()
        results.append((mixed, *torch.autograd.grad(mixed, leaves, upward)))
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, atol=2e-6, rtol=1e-5)


def test_this_torch_takes_what_packed_attention_gives_it() -> None:
    known = module._varlen_parameters()
    assert {"query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k", "scale"} <= known
    assert set(module._causal_option()) <= known


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_on_a_cpu_it_has_the_bits_of_attention_with_a_mask(kv_heads: int) -> None:
    q, k, v = draw(2, 4, 9, 8), draw(2, kv_heads, 9, 8, seed=1), draw(2, kv_heads, 9, 8, seed=2)
    for documents in (None, torch.zeros(2, 9), packed([[4, 5], [2, 7]])):
        bounds = document_bounds(documents, q.device)
        wanted = F.scaled_dot_product_attention(
            q, k, v, attn_mask=bounds, is_causal=bounds is None, scale=0.5, enable_gqa=kv_heads != 4
        )
        assert torch.equal(attention(q, k, v, 0.5, bounds), wanted)
        assert (bounds is None) == (documents is None or documents.unique().numel() == 1)


@pytest.mark.slow
def test_compiled_whole_it_gives_the_bits_of_eager() -> None:
    q, k, v = (draw(2, 2, 8, 16, seed=seed) for seed in range(3))
    bounds = document_bounds(packed([[4, 4], [2, 6]]), q.device)
    assert torch.equal(
        torch.compile(attention, fullgraph=True)(q, k, v, 0.25, bounds),
        attention(q, k, v, 0.25, bounds),
    )
