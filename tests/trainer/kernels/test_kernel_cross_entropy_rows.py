"""Rows of logits to losses and gradients: Triton in the interpreter, the torch reference, and the
CUDA source on a CPU.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.kernels.judge import assert_as_good_as_torch
from tests.trainer.kernels.row_cases import Case, case, sure
from trainer.kernels.compiled import VOCABULARY, padded, usage_of
from trainer.kernels.cross_entropy_rows import launch_cross_entropy_rows, torch_cross_entropy_rows
from trainer.kernels.cuda_rows import (
    EIGHT,
    SOURCE,
    TWO,
    Cluster,
    UnavailableError,
    launch_cuda_rows,
    machine_code,
)

Rows = Callable[[Case], tuple[Tensor, Tensor, Tensor]]


def triton_rows(rows: Case) -> tuple[Tensor, Tensor, Tensor]:
    arguments = rows.arguments()
    nll, lse = launch_cross_entropy_rows(*arguments)
    return nll, lse, arguments[0]


def reference_rows(rows: Case) -> tuple[Tensor, Tensor, Tensor]:
    arguments = rows.arguments()
    wide = arguments[0].float()
    nll, lse = torch_cross_entropy_rows(wide, *arguments[1:])
    return nll, lse, wide.to(rows.logits.dtype)


BOTH = pytest.mark.parametrize("run", [triton_rows, reference_rows], ids=["kernel", "reference"])


def assert_right(found: tuple[Tensor, Tensor, Tensor], rows: Case) -> None:
    in_dtype, exact = rows.truth(torch.float32), rows.truth()
    plain = (in_dtype[0], in_dtype[1], in_dtype[2].to(rows.logits.dtype))
    for ours, theirs, true in zip(found, plain, exact, strict=True):
        assert_as_good_as_torch(ours, theirs, true)


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("vocab", "width"), [(1, 16), (5, 16), (16, 16), (250, 256), (300, 320)])
def test_losses_and_gradients_are_right(
    run: Rows, vocab: int, width: int, dtype: torch.dtype
) -> None:
    rows = case(4, vocab, width, dtype, scale=0.25, zeta=1e-2)
    assert_right(run(rows), rows)


@settings(max_examples=20)
@given(
    rows=st.integers(0, 5),
    vocab=st.integers(1, 70),
    pad=st.integers(0, 9),
    seed=st.integers(0, 99),
    scale=st.sampled_from([1.0, 0.11, 2.0]),
    zeta=st.sampled_from([0.0, 1e-3]),
)
def test_any_shape_is_right(
    rows: int, vocab: int, pad: int, seed: int, scale: float, zeta: float
) -> None:
    drawn = case(rows, vocab, vocab + pad, seed=seed, scale=scale, zeta=zeta)
    assert_right(triton_rows(drawn), drawn)


@BOTH
def test_a_row_longer_than_a_block_is_summed_whole(run: Rows) -> None:
    rows = case(1, 9001, 9008)
    assert_right(run(rows), rows)


@BOTH
def test_rows_without_a_target_and_of_weight_zero_have_gradient_zero_even_where_logits_are_not_finite(
    run: Rows,
) -> None:
    rows = case(4, 60, 64)
    targets, weights, logits = rows.targets.clone(), rows.weights.clone(), rows.logits.clone()
    targets[0], targets[1], weights[2] = -100, 60, 0.0
    logits[0, 7] = logits[2, 7] = torch.inf
    nll, lse, gradient = run(Case(logits, targets, weights, 60))
    assert not gradient[:3].any()
    assert not nll[:2].any()
    assert not lse[:2].any()
    assert gradient[3].any()


@BOTH
def test_columns_of_padding_get_no_gradient_and_take_no_part(run: Rows) -> None:
    rows = case(3, 50, 64)
    _, _, gradient = run(rows)
    assert not gradient[:, 50:].any()
    torch.testing.assert_close(gradient[:, :50].sum(1), torch.zeros(3), atol=1e-6, rtol=0)


@BOTH
@pytest.mark.parametrize("margin", [5.0, 12.0, 16.0, 20.0, 60.0])
def test_a_sure_row_keeps_the_small_gradient_of_its_target_and_its_small_loss(
    run: Rows, margin: float
) -> None:
    rows = sure(64, 60, margin)
    nll, _, gradient = run(rows)
    doubt = 59 * np.exp(-margin)
    np.testing.assert_allclose(float(gradient[0, 3]), -doubt / (1 + doubt), rtol=2e-5)
    np.testing.assert_allclose(float(nll[0]), np.log1p(doubt), rtol=2e-5)


@BOTH
def test_an_offset_common_to_all_logits_changes_nothing(run: Rows) -> None:
    plain = case(2, 60, 64)
    quarters = Case((plain.logits * 4).round() / 4, plain.targets, plain.weights, 60)
    moved = Case(quarters.logits + 16384.0, plain.targets, plain.weights, 60)
    for index in (0, 2):
        torch.testing.assert_close(run(moved)[index], run(quarters)[index], rtol=1e-5, atol=1e-6)


@BOTH
def test_a_logit_that_is_no_number_shows_in_the_loss(run: Rows) -> None:
    rows = case(2, 60, 64)
    rows.logits[0, 5] = torch.nan
    nll, _, _ = run(rows)
    assert bool(nll[0].isnan())
    assert bool(nll[1].isfinite())


def test_without_gradient_the_logits_stay() -> None:
    rows = case(2, 60, 64)
    arguments = rows.arguments()
    nll, _ = launch_cross_entropy_rows(*arguments[:-1], False)
    assert torch.equal(arguments[0], rows.logits)
    torch.testing.assert_close(nll, rows.truth(torch.float32)[0])


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("cluster", [EIGHT, TWO], ids=["eight blocks", "two blocks"])
def test_the_cuda_source_compiles_for_hopper_without_a_gpu_and_spills_nothing(
    cluster: Cluster, gradient: bool
) -> None:
    usage = usage_of(machine_code(padded(VOCABULARY), gradient, cluster))
    assert usage["LOCAL"] == usage["STACK"] == 0
    assert usage["REG"] * cluster.threads * cluster.resident <= 65536


def test_logits_the_cuda_kernel_is_not_written_for_are_refused_by_name() -> None:
    rows = case(2, 60, 64)
    with pytest.raises(UnavailableError, match="float32"):
        launch_cuda_rows(*rows.arguments())


@pytest.fixture(scope="session")
def emulated(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Case], tuple[Tensor, Tensor, Tensor]]:
    """The CUDA source as a program for this machine: a cluster of 2 blocks of 64 threads, 3 vectors
    each.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("a C++ compiler (g++) is missing")
    program = tmp_path_factory.mktemp("emulated") / "rows"
    macros = [
        f"-D{name}={value}"
        for name, value in {
            "CLUSTER": 2,
            "THREADS": 64,
            "VECTORS": 3,
            "GRADIENT": 1,
            "RESIDENT": 1,
        }.items()
    ]
    source = Path(__file__).with_name("emulated_rows.cpp")
    subprocess.run(
        [
            compiler,
            "-std=c++20",
            "-O1",
            "-pthread",
            "-w",
            *macros,
            f'-DSOURCE="{SOURCE}"',
            str(source),
            "-o",
            str(program),
        ],
        check=True,
    )

    def run(rows: Case) -> tuple[Tensor, Tensor, Tensor]:
        count, width = rows.logits.shape
        words = [
            str(count),
            str(width),
            str(rows.vocab),
            str(width),
            repr(rows.scale),
            repr(rows.zeta),
        ]
        given = b"".join(
            tensor.numpy().tobytes()
            for tensor in (rows.logits.view(torch.int16), rows.targets, rows.weights)
        )
        told = subprocess.run(
            [str(program), *words], input=given, capture_output=True, check=True
        ).stdout
        logits = torch.frombuffer(bytearray(told[: count * width * 2]), dtype=torch.bfloat16).view(
            count, width
        )
        figures = torch.frombuffer(bytearray(told[count * width * 2 :]), dtype=torch.float32)
        return figures[:count], figures[count:], logits

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("vocab", "width"), [(1, 8), (60, 64), (700, 704), (2043, 2048), (2048, 2048), (3071, 3072)]
)
def test_the_cuda_kernel_is_right_on_an_emulated_cluster(
    emulated: Rows, vocab: int, width: int
) -> None:
    rows = case(3, vocab, width, torch.bfloat16, scale=0.5, zeta=1e-2)
    assert_right(emulated(rows), rows)


def test_the_emulated_cuda_kernel_keeps_to_ignored_sure_and_broken_rows(emulated: Rows) -> None:
    rows = case(5, 700, 704, torch.bfloat16)
    targets, weights, logits = rows.targets.clone(), rows.weights.clone(), rows.logits.clone()
    targets[0], targets[1], weights[2], logits[2, 9], logits[3, 4] = (
        -100,
        700,
        0.0,
        torch.inf,
        torch.nan,
    )
    nll, lse, gradient = emulated(Case(logits, targets, weights, 700))
    assert not gradient[:3].any()
    assert not nll[:2].any()
    assert not lse[:2].any()
    assert bool(nll[3].isnan())
    assert not gradient[4, 700:].any()
    certain = sure(704, 700, 16.0, torch.bfloat16)
    nll, _, gradient = emulated(certain)
    doubt = 699 * np.exp(-16.0)
    np.testing.assert_allclose(float(nll[0]), np.log1p(doubt), rtol=2e-5)
    np.testing.assert_allclose(float(gradient[0, 3]), -doubt / (1 + doubt), rtol=2**-8)
