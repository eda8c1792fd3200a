"""Fields that content keys hold: one more of them would make everything anew for everybody."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
from pydantic import BaseModel

from artifacts.fingerprints import content_key
from artifacts.settings import LATER, key_settings, later_fields
from dedup.index.files import IndexSettings
from mixtures.spec.phase import PhaseSpec, Preset
from pipelines.chunks.reading import ReadStep
from pipelines.readers import Fields, Limits
from pipelines.recipe.fields import Branch
from pipelines.recipe.load import LoadedRecipe, load_recipe
from pipelines.shards.settings import ShardSettings, TokenizerSettings
from pipelines.shards.split import Split
from pipelines.signals.rules import Rule
from pipelines.stages.heuristics import HeuristicsStage, RulesChoose
from pipelines.training.keys import former_keyings, former_places, keying_of
from tokenizer.train import TrainConfig
from trainer.loop.settings import ModelSettings, TrainSettings
from trainer.optimizer.schedules import DecaySpec, RateChange, ScheduleSpec
from trainer.shapes.config import ModelConfig

# a field that is added to one of these is marked as LATER (artifacts.settings) and not listed here
KEY_FIELDS: dict[type, str] = {
    ModelSettings: (
        "preset vocab_size width layers heads kv_heads head_dim ff scale_emb scale_depth "
        "dim_model_base init_std rope_theta norm_eps tied"
    ),
    TrainSettings: (
        "sequence_length batch_tokens micro_batch_tokens seed schedule weight_decay clip betas eps "
        "device precision float8 checkpoint_every validate_every validation_windows threads "
        "tensorboard"
    ),
    ScheduleSpec: "kind peak warmup decay decay_start end period final version",
    ModelConfig: (
        "vocab_size width layers heads kv_heads ff head_dim scale_emb scale_depth dim_model_base "
        "init_std rope_theta norm_eps tied"
    ),
    DecaySpec: "shape half_life final",
    RateChange: "after factor",
    Branch: "name phases",
    PhaseSpec: (
        "name tokens percent weights weights_from temperature preset bands decay max_epochs "
        "ramp_tokens sequence_length batch_tokens"
    ),
    Preset: "name sources",
    TokenizerSettings: "vocab_size sample sample_mib",
    TrainConfig: (
        "vocab_size character_coverage split_digits chat_marks reserved space_runs user_symbols "
        "round_to max_sentence_bytes max_document_bytes seed"
    ),
    ShardSettings: "part_mtokens hold_out split",
    Split: "by bands",
    IndexSettings: "ngrams bands rows seed verify max_comparisons algorithm",
    Fields: (
        "id_field text_field messages_field url_field lang_field license_field date_field lang "
        "license"
    ),
    Limits: "batch_bytes record_bytes quarantine_bytes window_bytes",
    Rule: "reason option column comparison threshold per",
}


def fields_of(kind: type) -> list[str]:
    return (
        [*kind.model_fields]
        if issubclass(kind, BaseModel)
        else [field.name for field in dataclasses.fields(kind)]
    )


@pytest.mark.parametrize("kind", KEY_FIELDS)
def test_a_field_that_was_added_is_marked_as_later(kind: type) -> None:
    unmarked = [name for name in fields_of(kind) if name not in later_fields(kind)]
    assert sorted(unmarked) == sorted(KEY_FIELDS[kind].split()), (
        "mark a new field as LATER, so that keys hold it only where it is set; a field that goes "
        "takes all keys with it"
    )


def inner_settings(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from inner_settings(part)


def test_settings_within_settings_are_listed_too() -> None:
    for kind in KEY_FIELDS:
        if issubclass(kind, BaseModel):
            for info in kind.model_fields.values():
                for inner in inner_settings(info.annotation):
                    assert inner in KEY_FIELDS, f"{inner.__name__} in {kind.__name__}"


KEYS = {
    "former training": "training/aa7a872458e8eeb5b188",
    "former branch": "other-68f03cab",
    "training": "6b7b61bf6223172ae4ea",
    "tokenizer": "bed90a2995a876d947d7",
    "trained": "a93318dd254531700bee",
    "shards": "6a922544ad5631449182",
    "read": "d174f4d2a54517af936b",
    "heuristics": "61ab31b84d7b8ffbbb23",
    "index": "f7d43a6bf89c2d1d3275",
}

RECIPE = """
name: small
corpus: {sources: [{name: web, paths: ["*.jsonl"]}]}
tokenizer: {vocab_size: 600, sample: {web: 1.0}}
shards: {hold_out: 0.1}
mixture:
  tokens: 100_000
  phases:
    - {name: stable, percent: 80, weights: {web: 1.0}}
    - {name: decay, percent: 20, decay: true, weights: {web: 1.0}}
model: {layers: 2, tied: false}
train: {precision: fp32, schedule: {peak: 0.02, decay: {shape: linear}}, betas: [0.9, 0.99]}
branches:
  - name: other
    phases: [{name: tail, percent: 20, decay: true, weights: {web: 1.0}, max_epochs: {web: 4}}]
"""


def load(folder: Path) -> LoadedRecipe:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE)
    return load_recipe(str(path))


def training_folder(loaded: LoadedRecipe) -> str:
    config = loaded.recipe.model.config(vocab_size=600)
    return keying_of(loaded.recipe, config).folder("p" * 20)


def test_keys_of_a_recipe_are_what_they_always_were(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    recipe = loaded.recipe
    assert recipe.tokenizer is not None
    (former,) = former_keyings(recipe)
    keying = keying_of(recipe, recipe.model.config(vocab_size=600))
    rules = RulesChoose((("gopher", HeuristicsStage().chosen_rules("heuristics")[0][1]),))
    read = ReadStep("jsonl", Fields(id_field="id"), Limits(record_bytes=5))
    keys = {
        "former training": former.folder("p" * 20),
        "former branch": former_places({"other": recipe.branches[0]})["other"],
        "training": content_key(
            {name: value for name, value in keying.facts.items() if name != "optimizer"}
        ),
        "tokenizer": content_key(key_settings(recipe.tokenizer)),
        "trained": content_key(key_settings(TrainConfig(vocab_size=600))),
        "shards": content_key(key_settings(recipe.shards, exclude={"split"})),
        "read": content_key(read.settings()),
        "heuristics": content_key(rules.settings()),
        "index": content_key(key_settings(IndexSettings(algorithm="a"))),
    }
    assert keys == KEYS


class LaterTrain(TrainSettings):
    """As a release with one more setting has them."""

    z_loss: Annotated[float, LATER] = 0.0


@pytest.mark.parametrize(("z_loss", "same"), [(0.0, True), (1e-4, False)])
def test_a_new_setting_of_training_restarts_only_who_sets_it(
    tmp_path: Path, z_loss: float, same: bool
) -> None:
    loaded = load(tmp_path)
    train = LaterTrain.model_validate({**loaded.recipe.train.model_dump(), "z_loss": z_loss})
    later = copy.copy(loaded)
    later.recipe = loaded.recipe.model_copy(update={"train": train})
    assert (training_folder(later) == training_folder(loaded)) == same
