"""The roofline: costs against figures worked out by hand, the sum against its parts, and what the
command prints.
"""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from artifacts.errors import UserError
from pipelines.commands.app import app
from trainer.costs import kernel_costs as costs
from trainer.costs.compute_costs import exact_flops_per_token, palm_flops_per_token
from trainer.costs.device_rates import DEVICES, Device
from trainer.costs.roofline import Roofline, roofline
from trainer.model import Model
from trainer.shapes.parameter_counts import count_parameters
from trainer.shapes.presets import PRESETS, preset

TOKENS, WINDOW = 16_384, 4096
LARGE, SMALL = preset("2.4B"), preset("1.2B", vocab_size=122_753)
PARAMETERS = count_parameters(LARGE).total


def of(config=LARGE, **changes) -> Roofline:
    return roofline(
        config, DEVICES["H200"], **{"tokens": TOKENS, "sequence_length": WINDOW, **changes}
    )


@pytest.mark.parametrize(
    ("cost", "megabytes"),
    [
        (costs.rms_norm(TOKENS, 2304), 151),
        (costs.rms_norm_backward(TOKENS, 2304), 227),
        (costs.residual_norm(TOKENS, 2304), 302),
        (costs.residual_norm_backward(TOKENS, 2304, folded=True), 302),
        (costs.residual_norm_backward(TOKENS, 2304), 378),
        (costs.swiglu(TOKENS, 5760), 566),
        (costs.swiglu_backward(TOKENS, 5760), 944),
        (costs.swiglu_backward(TOKENS, 5760, recompute=True), 1132),
        (costs.rope(TOKENS, 36, 36, 64), 306),
        (costs.rope(TOKENS, 24, 8, 64), 138),
        (costs.rope_backward(TOKENS, 36, 36, 64), 457),
        (costs.cross_entropy_rows(TOKENS, LARGE.padded_vocab), 8049),
        (costs.embedding_backward(TOKENS, 2304), 378),
        (costs.adamw(PARAMETERS, copies=False), 76_297),
        (costs.adamw(PARAMETERS, copies=True), 81_746),
        (costs.gradient_norm(PARAMETERS), 10_900),
        (costs.head_gradient_sums(TOKENS, 2304, LARGE.padded_vocab), 7923),
    ],
)
def test_bytes_are_those_worked_out_by_hand(cost: costs.Cost, megabytes: int) -> None:
    assert round(cost.bytes / 1e6) == megabytes
    assert cost.flops == 0


def test_operations_are_those_worked_out_by_hand() -> None:
    assert costs.head_products(TOKENS, 2304, LARGE.padded_vocab).flops / 1e12 == pytest.approx(
        27.8, abs=0.05
    )
    assert costs.attention(TOKENS, WINDOW, 36, 36, 64).flops / 1e12 == pytest.approx(
        0.31, abs=0.005
    )
    assert costs.attention_backward(TOKENS, WINDOW, 36, 36, 64).flops / 1e12 == pytest.approx(
        0.77, abs=0.005
    )
    assert exact_flops_per_token(LARGE, WINDOW) / 1e9 == pytest.approx(18.61, abs=0.005)
    assert palm_flops_per_token(LARGE, WINDOW) / 1e9 == pytest.approx(20.88, abs=0.005)
    assert exact_flops_per_token(SMALL, WINDOW) / 1e9 == pytest.approx(10.58, abs=0.005)
    assert palm_flops_per_token(SMALL, WINDOW) / 1e9 == pytest.approx(12.54, abs=0.005)


def test_a_step_of_the_large_model_has_the_known_budget() -> None:
    found = of()
    heads = next(row for row in found.rows if row.name == "head: three products")
    attention = found.parts()["attention"]
    assert found.parts()["products"] + heads.total_us / 1e6 == pytest.approx(0.339, abs=0.001)
    assert attention == pytest.approx(0.108, abs=0.001)
    assert attention * 400e12 / 1e12 == pytest.approx(43.3, abs=0.1)
    assert 0.48 < found.seconds < 0.53
    assert 31_000 < found.tokens_per_second < 34_000
    assert 0.58 < found.mfu(found.tokens_per_second) < 0.64
    assert 50_000 < of(SMALL).tokens_per_second < 55_000


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("precision", ["bf16", "fp32", "float8"])
def test_operations_of_the_rows_are_those_per_token(name: str, precision) -> None:
    """Attention's backward makes the scores anew, and the vocabulary's padding is multiplied too:
    2.5 of 2, and P of V.
    """
    config = preset(name)
    found = of(config, precision=precision, micro_steps=3)
    done = sum(row.calls * row.cost.flops for row in found.rows)
    counted = 3 * TOKENS * exact_flops_per_token(config, WINDOW)
    scores = 3 * TOKENS * config.layers * config.heads * config.head_dim * (WINDOW + 1)
    padding = 3 * TOKENS * 6 * (config.padded_vocab - config.vocab_size) * config.width
    assert done == counted + scores + padding


@given(
    name=st.sampled_from(sorted(PRESETS)),
    tokens=st.integers(1, 1 << 16),
    window=st.integers(1, 8192),
    micro_steps=st.integers(1, 8),
    precision=st.sampled_from(["bf16", "fp32", "float8"]),
)
def test_the_sum_is_that_of_its_parts_and_no_share_exceeds_the_peak(
    name, tokens, window, micro_steps, precision
) -> None:
    found = of(
        preset(name),
        tokens=tokens,
        sequence_length=window,
        micro_steps=micro_steps,
        precision=precision,
    )
    assert sum(found.parts().values()) == pytest.approx(found.seconds)
    assert all(row.floor_us > 0 or row.cost.bytes == 0 for row in found.rows)
    assert found.tokens_per_second * found.seconds == pytest.approx(tokens * micro_steps)
    limit = 1.0 if precision != "float8" else 1400 / 989
    assert 0 < found.mfu(found.tokens_per_second) < limit


def test_the_rows_are_the_matrices_of_the_model() -> None:
    config = dataclasses.replace(preset("tiny"), kv_heads=1)
    model = Model(config)
    rows = 7
    wanted = sum(2 * rows * matrix.weight.numel() for _, matrix in model.matrices())
    found = roofline(config, DEVICES["H100"], tokens=rows, sequence_length=rows)
    assert (
        sum(
            row.calls * row.cost.flops
            for row in found.rows
            if row.part == "products" and "backward" not in row.name
        )
        == wanted
    )
    assert torch.Size([config.padded_vocab, config.width]) == model.embedding.shape


def test_a_faster_device_lowers_what_it_is_faster_at() -> None:
    slow, fast = DEVICES["H200"], Device.parse("H200:copy=8.6")
    before, after = (
        roofline(LARGE, device, tokens=TOKENS, sequence_length=WINDOW) for device in (slow, fast)
    )
    assert after.parts()["element by element"] == pytest.approx(
        before.parts()["element by element"] / 2
    )
    assert after.parts()["products"] == before.parts()["products"]
    assert fast.known.startswith("copy as given")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("B9", "no such device"),
        ("H200:speed=3", "no such figure"),
        ("H200:copy=", "positive"),
        ("H200:copy=-1", "positive"),
    ],
)
def test_a_device_that_cannot_be_read_is_a_clear_error(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Device.parse(text)


def test_no_8_bit_floats_where_a_device_has_none() -> None:
    with pytest.raises(UserError, match="A100 has no products in float8"):
        roofline(LARGE, DEVICES["A100"], tokens=TOKENS, sequence_length=WINDOW, precision="float8")


def test_describe_prints_every_kernel_and_both_conventions() -> None:
    done = CliRunner().invoke(app, ["model", "describe", "2.4B", "--roofline"])
    assert done.exit_code == 0, done.output
    for row in of().rows:
        assert row.name in done.output
    for words in (
        "32,016 tokens/s",
        "60.3% with attention counted as computed",
        "67.6% as",
        "copies 4.3 TB/s",
    ):
        assert words in done.output
    assert max(map(len, done.output.splitlines())) <= 120


def test_train_prints_the_recipes_step_and_trains_nothing(root, tmp_path) -> None:
    recipe = str(root / "recipes" / "quickstart.yaml")
    done = CliRunner().invoke(
        app,
        [
            "train",
            recipe,
            "--runs",
            str(tmp_path),
            "--roofline",
            "--device",
            "A100:copy=1.7",
            "--json",
        ],
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["micro_steps"] * found["tokens_per_micro_step"] == 4096
    assert found["device"]["copy"] == 1.7e12
    assert sum(row["total_us"] for row in found["rows"]) / 1e6 == pytest.approx(found["seconds"])
    assert not list(tmp_path.iterdir())
