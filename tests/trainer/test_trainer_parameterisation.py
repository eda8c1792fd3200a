"""Counts, multipliers, starting weights and learning-rate groups against the paper's figures."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from artifacts.errors import UserError
from trainer.costs.compute_costs import (
    exact_flops_per_token,
    flops_per_token,
)
from trainer.costs.describe import describe
from trainer.costs.training_memory import activations_per_token
from trainer.model import Model, ModelConfig, init, parameter_groups
from trainer.shapes.parameter_counts import count_parameters
from trainer.shapes.presets import PRESETS, preset

SMALL = ModelConfig(vocab_size=70, width=64, layers=2, heads=4, kv_heads=2, ff=160, head_dim=16)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("9M", 9_426_240), ("0.2B", 241_214_464), ("1.2B", 1_247_442_432), ("2.4B", 2_442_057_984)],
)
def test_non_embedding_counts_are_those_of_the_paper(name: str, parameters: int) -> None:
    assert count_parameters(PRESETS[name]).non_embedding == parameters


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("9M", 0.009),
        ("30M", 0.036),
        ("70M", 0.066),
        ("0.1B", 0.109),
        ("0.17B", 0.166),
        ("0.2B", 0.241),
        ("0.5B", 0.499),
    ],
)
def test_wind_tunnel_sizes_round_to_the_printed_ones(name: str, billions: float) -> None:
    assert round(count_parameters(PRESETS[name]).non_embedding / 1e9, 3) == billions
    assert PRESETS[name].ff == 2.5 * PRESETS[name].width
    assert PRESETS[name].heads * 64 == PRESETS[name].width


@pytest.mark.parametrize(("name", "parameters"), [("1.2B", 112_803_840), ("2.4B", 282_822_912)])
def test_embedding_counts_speak_of_the_real_vocabulary(name: str, parameters: int) -> None:
    assert count_parameters(PRESETS[name]).embedding == parameters


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_the_formula_counts_what_the_model_holds(name: str, tied: bool, qk_norm: bool) -> None:
    config = dataclasses.replace(PRESETS[name], tied=tied, qk_norm=qk_norm)
    with torch.device("meta"):
        held = sum(parameter.numel() for parameter in Model(config).parameters())
    assert count_parameters(config).allocated == held


@pytest.mark.parametrize(
    ("name", "m", "residual", "rate", "std"),
    [
        ("9M", 1.25, 0.49497, 8.000e-3, 0.08944),
        ("30M", 2, 0.40415, 5.000e-3, 0.07071),
        ("0.2B", 4, 0.31305, 2.500e-3, 0.05000),
        ("1.2B", 6, 0.19415, 1.6667e-3, 0.04082),
        ("2.4B", 9, 0.22136, 1.1111e-3, 0.03333),
    ],
)
def test_multipliers_are_those_of_table_7(
    name: str, m: float, residual: float, rate: float, std: float
) -> None:
    config = PRESETS[name]
    shown = {row.name: row.value for row in describe(config)}
    assert shown["width multiplier m"] == m
    assert shown["residual branch"] == pytest.approx(residual, abs=5e-6)
    assert shown["hidden learning rate"] == pytest.approx(rate, rel=5e-5)
    assert shown["hidden init std"] == pytest.approx(std, abs=5e-6)
    assert shown["attention scores"] == 0.125
    assert shown["logits"] == 1 / m


def test_groups_give_hidden_matrices_the_reduced_rate_and_norms_no_decay() -> None:
    with torch.device("meta"):
        model = Model(PRESETS["2.4B"])
    hidden, embedding, gain = parameter_groups(model, model.config, 0.01, 0.1)
    assert (hidden.lr_multiplier, hidden.lr, hidden.weight_decay) == (1 / 9, 0.01 / 9, 0.1)
    assert (embedding.lr, embedding.weight_decay, gain.lr, gain.weight_decay) == (
        0.01,
        0.1,
        0.01,
        0.0,
    )
    assert embedding.names == ("embedding",)
    assert len(hidden.names) == 40 * 4
    assert len(gain.names) == 40 * 2 + 1
    assert all(parameter.ndim == 2 for parameter in hidden.parameters)
    grouped = [
        id(parameter) for group in (hidden, embedding, gain) for parameter in group.parameters
    ]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())


def test_an_untied_head_learns_and_starts_like_the_embedding() -> None:
    config = dataclasses.replace(SMALL, tied=False)
    model = Model(config)
    init(model, config, seed=1)
    assert parameter_groups(model, config, 0.01, 0.1)[1].names == ("embedding", "head")
    assert float(model.head_weight[:70].detach().std()) == pytest.approx(0.1, rel=0.1)
    assert not torch.equal(model.head_weight, model.embedding)


def test_starting_weights_have_the_spread_the_rule_asks_for() -> None:
    config = preset("9M", vocab_size=4000, layers=2)
    model = Model(config)
    init(model, config, seed=1)
    for name, parameter in model.state_dict().items():
        if name == "embedding":
            drawn, std = parameter[:4000], 0.1
        elif parameter.ndim == 2:
            drawn, std = parameter, 0.1 / math.sqrt(1.25)
        else:
            assert bool((parameter == 1).all())
            continue
        assert float(drawn.std()) == pytest.approx(std, rel=0.01), name
        assert abs(float(drawn.mean())) < 5 * std / math.sqrt(drawn.numel()), name
        assert float(drawn.abs().max()) > 3.5 * std, name
    assert not model.embedding[4000:].any()


def test_starting_weights_depend_on_seed_and_name_alone() -> None:
    def weights(config: ModelConfig, seed: int) -> dict[str, torch.Tensor]:
        model = Model(config)
        init(model, config, seed)
        return {name: parameter.detach() for name, parameter in model.named_parameters()}

    first, same, other = weights(SMALL, 1), weights(SMALL, 1), weights(SMALL, 2)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not any(
        torch.equal(first[name], other[name]) for name in first if not name.endswith("norm.weight")
    )
    deeper = weights(dataclasses.replace(SMALL, layers=3), 1)
    assert all(torch.equal(first[name], deeper[name]) for name in first)
    matrices = [
        tensor.flatten()[:64].tolist() for name, tensor in deeper.items() if tensor.ndim == 2
    ]
    assert len({tuple(values) for values in matrices}) == len(matrices)


def test_activations_are_counted_as_the_model_keeps_them() -> None:
    def kept(layers: int) -> int:
        config = dataclasses.replace(SMALL, layers=layers)
        model, held = Model(config), {}
        init(model, config, seed=1)
        own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
            return tensor

        tokens = torch.arange(32).view(1, 32)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model(tokens, tokens)
        return (
            sum(storage.nbytes() for pointer, storage in held.items() if pointer not in own)
            // 32
            // 4
        )

    three, four = (
        activations_per_token(dataclasses.replace(SMALL, layers=layers)) for layers in (3, 4)
    )
    grouped_keys_repeated = 2 * (SMALL.heads - SMALL.kv_heads) * SMALL.head_dim
    assert four - three <= kept(4) - kept(3) <= four - three + grouped_keys_repeated


def test_operations_per_token_follow_both_conventions() -> None:
    config = PRESETS["2.4B"]
    assert flops_per_token(config) == 6 * 2_442_057_984
    matrices = 2_442_057_984 - 81 * 2304 + 282_822_912
    pairs = sum(range(1, 4097)) / 4096
    assert exact_flops_per_token(config, 4096) == 6 * matrices + 3 * 40 * 36 * 2 * 2 * 64 * pairs


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"kv_heads": 3}, "model.kv_heads"),
        ({"width": 0}, "model.width"),
        ({"layers": 2.5}, "model.layers"),
        ({"head_dim": 7}, "model.head_dim"),
        ({"init_std": float("nan")}, "model.init_std"),
        ({"scale_depth": -1.0}, "model.scale_depth"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused_by_name(
    overrides: dict[str, object], field: str
) -> None:
    with pytest.raises(UserError) as error:
        preset("tiny", **overrides)
    assert error.value.field == field


def test_no_preset_is_narrower_than_its_base_and_tiny_is_as_wide() -> None:
    assert {name: config.below_base for name, config in PRESETS.items()} == dict.fromkeys(
        PRESETS, ""
    )
    assert {config.dim_model_base for name, config in PRESETS.items() if name != "tiny"} == {256}
    assert preset("tiny").width_multiplier == 1.0
    assert (
        min(config.width_multiplier for name, config in PRESETS.items() if name != "tiny") == 1.25
    )


def test_a_model_narrower_than_its_base_says_so_with_the_base_that_fits() -> None:
    narrow = preset("tiny", width=64, heads=1, kv_heads=1)
    assert "m = 64 / 128 is below 1" in narrow.below_base
    assert "dim_model_base: 64 gives m = 1" in narrow.below_base
    (row,) = [row for row in describe(narrow) if row.name == "width multiplier m"]
    assert (row.value, row.rule) == (0.5, "width / dim_model_base; below 1")
    assert preset("tiny", width=64, heads=1, kv_heads=1, dim_model_base=64).below_base == ""


def test_unknown_presets_and_settings_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError) as error:
        preset("2.5B")
    assert error.value.nearest in ("2.4B", "0.5B")
    with pytest.raises(UserError) as error:
        preset("tiny", layer=3)
    assert error.value.nearest == "layers"


def test_a_config_survives_being_stored() -> None:
    assert ModelConfig.from_dict(SMALL.as_dict()) == SMALL
    with pytest.raises(UserError, match="lacks layers"):
        ModelConfig.from_dict(
            {name: value for name, value in SMALL.as_dict().items() if name != "layers"}
        )
