"""Sizes of activations and updates, against the tensors themselves."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from artifacts.errors import UserError
from mixtures.loader.loader import Loader
from tests.trainer import loop_runs
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import plan, run
from trainer.checkpoints.checkpoint import at_step
from trainer.checkpoints.weights import model_of
from trainer.loop.metrics import read_series
from trainer.model import Model, ModelConfig, init
from trainer.model.rotary import rotation
from trainer.probes.coordinates import Coordinates, Means, measuring
from trainer.probes.pieces import pieces
from trainer.shapes.parameter_counts import count_parameters

CONFIG = ModelConfig(
    vocab_size=70, width=16, layers=2, heads=2, kv_heads=1, head_dim=8, ff=24, dim_model_base=8
)


def model_with(config: ModelConfig = CONFIG) -> Model:
    model = Model(config)
    init(model, config, 3)
    return model


def passes(seed: int, rows: int = 2, length: int = 10) -> tuple[Tensor, Tensor]:
    """Tokens and positions."""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, CONFIG.vocab_size, (rows, length), generator=draw)
    return tokens, torch.arange(length).expand(rows, length)


def seen(model: Model, *batches: tuple[Tensor, Tensor]) -> dict[str, float]:
    """What the probe sees of forward passes."""
    means = Means()
    with measuring(model, means):
        for tokens, positions in batches:
            model(tokens, positions)
    return means.read()


def mean(values: Tensor) -> float:
    return float(values.detach().double().abs().mean())


def written_out(model: Model, tokens: Tensor, positions: Tensor) -> dict[str, float]:
    """The same sizes from a forward pass in single steps."""
    config, found = model.config, {}
    angles = rotation(positions, config.head_dim, model.rotary)
    stream = model.embedding[tokens] * config.scale_emb
    for number, layer in enumerate(model.layers):
        normed = layer.attention_norm(stream)
        found[f"layers.{number}.qkv"] = mean(layer.attention.qkv(normed))
        delta = layer.attention(normed, angles, None) * config.residual_multiplier
        found[f"layers.{number}.attention"] = mean(delta)
        stream = stream + delta
        delta = layer.feed_forward(layer.feed_forward_norm(stream)) * config.residual_multiplier
        found[f"layers.{number}.feed_forward"] = mean(delta)
        stream = stream + delta
        found[f"layers.{number}.stream"] = mean(stream)
    hidden = model.final_norm(stream) / config.width_multiplier
    found["logits"] = mean(hidden @ model.head_weight[: config.vocab_size].T)
    return found


@pytest.mark.parametrize("tied", [True, False])
def test_activations_are_those_of_the_forward_pass(tied: bool) -> None:
    model = model_with(ModelConfig.from_dict({**CONFIG.as_dict(), "tied": tied}))
    batch = passes(1)
    assert seen(model, batch) == pytest.approx(written_out(model, *batch), rel=1e-5)


def test_every_use_counts_and_not_the_last_alone() -> None:
    model, one, other = model_with(), passes(1, rows=1), passes(2, rows=3)
    apart = [seen(model, batch) for batch in (one, other)]
    both = seen(model, one, other)
    for name, value in both.items():
        expected = (apart[0][name] + 3 * apart[1][name]) / 4
        assert value == pytest.approx(expected, rel=1e-6)
        assert value != pytest.approx(apart[1][name], rel=1e-4)


def test_a_layer_at_two_places_is_measured_at_both() -> None:
    apart, shared = model_with(), model_with()
    apart.layers[1] = copy.deepcopy(apart.layers[0])
    shared.layers[1] = shared.layers[0]
    batch = passes(1)
    expected = seen(apart, batch, batch)
    assert seen(shared, batch, batch) == pytest.approx(expected, rel=1e-6)
    assert expected["layers.0.qkv"] != pytest.approx(expected["layers.1.qkv"], rel=1e-3)


def hooks(model: Model) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_hooks_are_gone_afterwards_whatever_happened() -> None:
    model = model_with()
    with measuring(model, Means()):
        assert hooks(model) == 1 + 4 * CONFIG.layers
    assert hooks(model) == 0

    def broken() -> None:
        with measuring(model, Means()):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert hooks(model) == 0


def test_pieces_are_all_of_a_model_but_the_padding() -> None:
    for tied in (True, False):
        config = ModelConfig.from_dict({**CONFIG.as_dict(), "tied": tied, "qk_norm": True})
        model = Model(config)
        tensors = dict(model.named_parameters())
        with torch.no_grad():
            for piece in pieces(model):
                piece.of(tensors).add_(1)
        counted = sum(piece.of(tensors).numel() for piece in pieces(model))
        assert counted == count_parameters(config).total
        assert all(float(tensor[:70].detach().min()) >= 1 for tensor in tensors.values())
        assert float(model.embedding[70:].detach().abs().max()) == 0
    kinds = "embedding head gain q k v out gate up down"
    assert {piece.kind for piece in pieces(model)} == set(kinds.split())


def test_a_training_measures_after_the_updates_asked_for(corpus: Corpus, tmp_path: Path) -> None:
    chosen = loop_runs.settings(checkpoint_every=1)
    run(corpus, tmp_path, settings=chosen, until_step=4, probes=[Coordinates(after=[1, 3])])
    lines = read_series(tmp_path, "probe-coordinates")
    assert [(line["step"], line["updates"]) for line in lines] == [(2, 1), (4, 3)]
    loader = Loader(plan(corpus), corpus.folders)
    for line in lines:
        before, after = (at_step(tmp_path, line["updates"] + more) for more in (0, 1))
        _check_activations(model_of(before), loader.batch(line["updates"]), line)
        changes: dict[str, list[Tensor]] = {}
        one, other = before.weights(), after.weights()
        for piece in pieces(model_of(before)):
            change = (piece.of(other).double() - piece.of(one).double()).flatten()
            changes.setdefault(piece.kind, []).append(change)
        expected = {name: mean(torch.cat(values)) for name, values in changes.items()}
        assert line["changes"] == pytest.approx(expected, rel=1e-9)
        assert list(line["changes"]) == ["embedding", "gain", *"qkv", "out", "gate", "up", "down"]


def _check_activations(model: Model, batch: Any, line: dict[str, Any]) -> None:
    means = Means()
    with measuring(model, means):
        model(
            torch.from_numpy(batch.tokens).long(),
            torch.from_numpy(batch.positions).long(),
            torch.from_numpy(batch.documents),
        )
    assert line["activations"] == pytest.approx(means.read(), rel=1e-5)


@pytest.mark.parametrize("after", [[], [-1], [0.5], [True]])
def test_numbers_of_updates_are_whole(after: list[Any]) -> None:
    with pytest.raises(UserError):
        Coordinates(after=after)
