"""What an export's folder holds, whole or not at all; and MiniCPM's layout by its own formulas."""

from __future__ import annotations

import dataclasses
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from artifacts.errors import UserError
from artifacts.paths import Store
from tests.oracles.minicpm_modelling import minicpm_logits
from tests.trainer.export.conftest import SHAPES, config_of
from tests.trainer.loop_corpus import Corpus
from trainer.checkpoints.checkpoint import Checkpoint, save
from trainer.checkpoints.weights import model_of
from trainer.export import export as writing
from trainer.export import tensor_files as tensor_writing
from trainer.export.card import Section, Story, Written, model_card
from trainer.export.check import LogitCheck
from trainer.export.export import ExportSettings, export_model
from trainer.export.layouts import LAYOUTS
from trainer.export.read import read_model
from trainer.export.tensor_files import INDEX, SINGLE, tensor_files

Made = Callable[[str], Checkpoint]


@pytest.mark.parametrize("shape", ["MHA", "untied", "dynamic", "ntk"])
def test_minicpms_layout_is_that_of_its_modelling_file(
    corpus: Corpus, made: Made, tmp_path: Path, shape: str
) -> None:
    export_model(made(shape), tmp_path / "out", ExportSettings(layout="minicpm"))
    config = json.loads((tmp_path / "out/config.json").read_bytes())
    tokens = torch.randint(384, (50,), generator=torch.Generator().manual_seed(4))
    own = model_of(made(shape))
    with torch.no_grad():
        expected = own.logits(own(tokens[None], torch.arange(50)[None]))[0]
        found = minicpm_logits(config, load_file(tmp_path / "out" / SINGLE), tokens)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


def test_the_folder_holds_what_a_reader_asks_for(made: Made, tmp_path: Path) -> None:
    done = export_model(made("MHA"), tmp_path / "out", story=Story("a name"))
    assert set(done.files) == {
        "README.md", "chat_template.jinja", "config.json", "generation_config.json",
        SINGLE, "special_tokens_map.json", "tokenizer.json", "tokenizer.model",
        "tokenizer_config.json",
    }  # fmt: skip
    assert done.bytes == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    readable = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
    for path in (tmp_path / "out").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & readable == readable, path
    config = json.loads((tmp_path / "out/config.json").read_bytes())
    assert config["max_position_embeddings"] == 64  # the longest window of its plan
    table = load_file(tmp_path / "out" / SINGLE)["model.embed_tokens.weight"]
    assert table.shape == (384, 32)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_large_models_are_parted_and_indexed(made: Made, tmp_path: Path) -> None:
    whole = export_model(made("untied"), tmp_path / "whole")
    parted = export_model(made("untied"), tmp_path / "parted", ExportSettings(part_bytes=20_000))
    parts = [name for name in parted.files if name.startswith("model-")]
    assert len(parts) > 3
    assert INDEX in parted.files
    assert parts[0] == f"model-00001-of-{len(parts):05d}.safetensors"
    one, several = (tensor_files(Path(done.folder)).read() for done in (whole, parted))
    assert one.keys() == several.keys()
    assert all(several[name].equal(value) for name, value in one.items())
    index = json.loads((tmp_path / "parted" / INDEX).read_bytes())
    assert index["metadata"]["total_size"] == sum(value.nbytes for value in one.values())


def test_the_same_checkpoint_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    story = Story("one name")
    for folder in ("a", "b"):
        export_model(made("GQA"), tmp_path / folder, story=story)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("layout", "change", "said"),
    [
        ("granite", {}, ()),
        ("minicpm", {}, ("add_space_prefix",)),
        ("granite", {"head_dim": 8}, ("does not load it",)),
        ("llama", {"head_dim": 8}, ()),
        ("llama", {"rope_scaling": "dynamic", "rope_original_context": 16}, ("leaves dynamic",)),
    ],
)
def test_the_card_says_what_llama_cpp_makes_of_it(
    corpus: Corpus, made: Made, layout: str, change: dict[str, Any], said: tuple[str, ...]
) -> None:
    shape = dataclasses.replace(config_of(corpus, "MHA"), **change)
    checked = LogitCheck(72, 0.0, 1.0, 0.0)
    written = Written(shape, LAYOUTS[layout], "fp32", True, 64, checked, "the same.")
    card = model_card(written, made("MHA").state, Story("a name"))
    for part in ("add_space_prefix", "does not load it", "leaves dynamic"):
        assert (part in card) == (part in said)


def test_the_card_says_what_was_checked_and_what_is_known(made: Made, tmp_path: Path) -> None:
    story = Story(
        "a | name\n# with a heading",
        languages=["en"],
        sections=[Section("Data", ["| a |", "|---|"])],
    )
    done = export_model(made("MHA"), tmp_path / "out", ExportSettings(layout="llama"), story)
    card = (tmp_path / "out/README.md").read_text()
    assert 'language: ["en"]' in card
    assert "license" not in card
    assert "\n# a | name\\u000a# with a heading\n" in card
    assert f"{done.logits.largest_difference:.2g}" in card
    assert "drawn texts" in done.ids
    assert done.ids in card
    assert made("MHA").state.plan_hash in card
    assert "folded" in card
    assert card.endswith("## Data\n\n| a |\n|---|\n")


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"layout": "gpt2"}, "layout"),
        ({"dtype": "fp8"}, "dtype"),
        ({"context": 0}, "context"),
        ({"part_bytes": 0}, "part_bytes"),
        ({"layout": "llama", "moments": True}, "moments"),
    ],
)
def test_settings_that_name_nothing_are_refused(
    made: Made, tmp_path: Path, settings: dict[str, Any], field: str
) -> None:
    with pytest.raises(UserError) as caught:
        export_model(made("MHA"), tmp_path / "out", ExportSettings(**settings))
    assert caught.value.field == field
    assert list(tmp_path.iterdir()) == []


def test_what_a_layout_has_no_place_for_is_refused(
    corpus: Corpus, made: Made, tmp_path: Path
) -> None:
    for shape, field in (("yarn", "model.rope_scaling"), ("GQA", "model.head_dim")):
        config = {**made(shape).state.model, **({"width": 64} if shape == "GQA" else {})}
        odd = Checkpoint(
            made(shape).store,
            made(shape).name,
            made(shape).state.model_copy(update={"model": config}),
        )
        with pytest.raises(UserError) as caught:
            export_model(odd, tmp_path / "out", ExportSettings(layout="minicpm"))
        assert caught.value.field == field
    normed = {**made("MHA").state.model, "qk_norm": True}
    state = made("MHA").state.model_copy(update={"model": normed, "files": {}})
    odd = save(Store(tmp_path / "run"), state, {}, {}, {"tokenizer.model": corpus.tokenizer.model})
    for layout in ("granite", "llama", "minicpm"):
        with pytest.raises(UserError) as caught:
            export_model(odd, tmp_path / "out", ExportSettings(layout=layout))
        assert caught.value.field == "model.qk_norm"
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(made: Made, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export_model(made("MHA"), tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="something here already"):
        export_model(made("MHA"), tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_another_model_does_not_appear(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect of writing: one tensor is not what it was."""

    def altered(*arguments: Any) -> Any:
        for name, tensor in outward(*arguments):
            yield name, tensor * 1.01 if name == "model.layers.1.mlp.down_proj.weight" else tensor

    outward = writing.outward
    monkeypatch.setattr(writing, "outward", altered)
    for dtype in ("fp32", "bf16"):
        with pytest.raises(UserError, match="another model than the checkpoint"):
            export_model(made("MHA"), tmp_path / "out", ExportSettings(dtype=dtype))
    assert list(tmp_path.iterdir()) == []


def test_every_layout_is_tried(made: Made) -> None:
    assert {"MHA", "GQA", "untied", "yarn", "dynamic", "ntk", "steep"} == SHAPES.keys()


def test_places_that_cannot_be_replaced_are_refused(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    (tmp_path / "dangling").symlink_to("nowhere")
    before = sorted(tmp_path.iterdir())
    for place, message in (
        (".", "cannot be replaced"),
        (tmp_path, "cannot be replaced"),
        ("link", "something here already"),
        ("dangling", "something here already"),
        ("s3://bucket/model", "folder of this machine"),
    ):
        with pytest.raises(UserError, match=message):
            export_model(made("MHA"), place)
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_leaves_nothing(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the library says it, whose errors are its own."""

    def full(*_: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensor_writing, "save_file", full)
    with pytest.raises(UserError, match="the disk is full"):
        export_model(made("MHA"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_yarn_is_never_said_to_lead_to_less_than_it_starts_from(made: Made, tmp_path: Path) -> None:
    export_model(made("yarn"), tmp_path / "out", ExportSettings(context=8))
    values = json.loads((tmp_path / "out/config.json").read_bytes())
    assert values["max_position_embeddings"] == 16
    assert read_model(tmp_path / "out").said.context == 16
