"""Folders of other programs as checkpoints: round trips, what trains on, what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from artifacts.errors import UserError
from mixtures.freeze.freeze import freeze
from mixtures.spec.spec import MixtureSpec, Phase
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import BATCH, LENGTH, MODEL, STABLE, settings
from tokenizer.shards.reader import open_source
from tokenizer.train import TrainConfig
from tokenizer.train import train as train_tokenizer
from trainer.checkpoints.checkpoint import Checkpoint, at_step, load
from trainer.checkpoints.recorded import model_config, trained_window
from trainer.checkpoints.weights import model_of
from trainer.evaluation.generate import GenerateSettings, generate, speaker
from trainer.export.export import MOMENTS, ExportSettings, export_model
from trainer.export.read import import_model, read_model
from trainer.export.tensor_files import INDEX, SINGLE
from trainer.loop.branch import branch
from trainer.loop.start import FromWeights
from trainer.loop.training import train

Made = Callable[[str], Checkpoint]
HUGE = 10**400  # no float holds it


def contents(folder: Path) -> dict[str, bytes]:
    """A folder's files but its card, which says where weights are from."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "README.md"
    }


@pytest.mark.parametrize("layout", ["granite", "minicpm", "llama"])
@pytest.mark.parametrize("shape", ["MHA", "GQA", "untied", "yarn", "dynamic", "ntk", "steep"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_export_import_export_gives_the_same_bytes(
    made: Made, tmp_path: Path, layout: str, shape: str, dtype: str
) -> None:
    if layout == "minicpm" and shape in ("yarn", "untied"):
        pytest.skip("no place for it, or heads that do not fill the width")
    chosen = ExportSettings(layout=layout, dtype=dtype)
    export_model(made(shape), tmp_path / "first", chosen)
    imported = import_model(tmp_path / "first", tmp_path / "in")
    export_model(imported, tmp_path / "second", chosen)
    assert contents(tmp_path / "second") == contents(tmp_path / "first")


@pytest.mark.parametrize("layout", ["granite", "minicpm"])
def test_settings_and_weights_come_back(made: Made, tmp_path: Path, layout: str) -> None:
    export_model(made("MHA"), tmp_path / "out", ExportSettings(layout=layout))
    imported = import_model(tmp_path / "out", tmp_path / "in")
    assert model_config(imported) == model_config(made("MHA"))
    own, back = made("MHA").weights(), imported.weights()
    rows = model_config(imported).vocab_size
    assert all(back[name][:rows].equal(value[:rows]) for name, value in own.items())
    assert trained_window(imported) == 64
    assert imported.state.imported is not None
    assert imported.state.tokenizer_hash == made("MHA").state.tokenizer_hash


def test_a_folded_llama_has_the_same_logits_and_no_multipliers(made: Made, tmp_path: Path) -> None:
    export_model(made("GQA"), tmp_path / "out", ExportSettings(layout="llama"))
    imported = import_model(tmp_path / "out", tmp_path / "in")
    config = model_config(imported)
    assert (config.scale_emb, config.residual_multiplier, config.width_multiplier) == (1, 1, 1)
    assert imported.state.imported is not None
    assert imported.state.imported.folded
    tokens, positions = torch.arange(60)[None] * 5 % 384, torch.arange(60)[None]
    found = []
    for checkpoint in (made("GQA"), imported):
        model = model_of(checkpoint)
        with torch.no_grad():
            found.append(model.logits(model(tokens, positions)))
    torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=1e-5)


def test_a_granite_of_another_attention_multiplier_is_the_same_model(
    made: Made, tmp_path: Path
) -> None:
    """IBM's own have 1/head_dim, and no numbers of MiniCPM's."""
    from transformers import AutoModelForCausalLM

    export_model(made("GQA"), tmp_path / "out")
    values = json.loads((tmp_path / "out/config.json").read_bytes())
    for name in ("scale_emb", "scale_depth", "dim_model_base", "head_dim"):
        del values[name]
    values |= {"attention_multiplier": 0.03125, "num_attention_heads": 4, "head_dim": 8}
    (tmp_path / "out/config.json").write_text(json.dumps(values))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    own = model_of(import_model(tmp_path / "out", tmp_path / "in"))
    tokens = torch.arange(60)[None] * 7 % 384
    with torch.no_grad():
        expected = theirs(tokens).logits
        found = own.logits(own(tokens, torch.arange(60)[None]))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


def test_an_import_speaks_as_the_checkpoint_does(
    corpus: Corpus, made: Made, tmp_path: Path
) -> None:
    export_model(made("MHA"), tmp_path / "out")
    imported = import_model(tmp_path / "out", tmp_path / "in")
    chosen = GenerateSettings(tokens=12)
    assert generate(*speaker(imported, "cpu"), ["river"], chosen) == generate(
        *speaker(made("MHA"), "cpu"), ["river"], chosen
    )


def _on(corpus: Corpus, start: Any, folder: Path, model: Any, steps: int = 4) -> list[Any]:
    """Losses of a training of its own plan from a start."""
    plan = freeze(
        MixtureSpec(phases=(Phase(name="on", tokens=steps * BATCH, weights={"web": 1.0}),)),
        {name: open_source(path) for name, path in corpus.folders.items()},
        sequence_length=LENGTH,
        batch_tokens=BATCH,
        seed=5,
        bos_id=corpus.tokenizer.bos_id,
    )
    chosen = settings(schedule={"kind": "constant", "peak": 0.01, "warmup": 0})
    reports: list[Any] = []
    train(
        plan, corpus.folders, model, chosen, folder, corpus.tokenizer,
        start=start, on_step=reports.append,
    )  # fmt: skip
    return reports


def test_a_training_goes_on_with_an_import_and_its_moments(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    """With moments every later step is that of the checkpoint's own weights and moments; without,
    the first loss alone.
    """
    stable = at_step(whole, STABLE)
    export_model(stable, tmp_path / "with", ExportSettings(moments=True))
    export_model(stable, tmp_path / "without")
    assert (tmp_path / "with" / MOMENTS).is_file()
    found = {}
    for name in ("with", "without"):
        imported = import_model(tmp_path / name, tmp_path / f"{name}-in")
        start = FromWeights.of_checkpoint(imported)
        found[name] = _on(corpus, start, tmp_path / f"{name}-run", MODEL)
    known = FromWeights(stable.weights, stable.folder, {}, {}, stable)
    own = _on(corpus, known, tmp_path / "own-run", MODEL)
    assert [report.loss for report in found["with"]] == [report.loss for report in own]
    assert found["without"][0].loss == pytest.approx(own[0].loss, abs=1e-5)
    assert found["without"][-1].loss != own[-1].loss
    ends = [at_step(tmp_path / f"{name}-run", 4).weights() for name in ("with", "own")]
    assert all(ends[0][name].equal(value) for name, value in ends[1].items())


def test_a_decay_that_begins_at_once_leaves_the_start_to_branch_from(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    export_model(at_step(whole, STABLE), tmp_path / "out")
    imported = import_model(tmp_path / "out", tmp_path / "in")
    decay = Phase(name="decay", decay=True, tokens=3 * BATCH, weights={"web": 0.5, "chat": 0.5})
    plan = freeze(
        MixtureSpec(phases=(decay,)),
        {name: open_source(path) for name, path in corpus.folders.items()},
        sequence_length=LENGTH,
        batch_tokens=BATCH,
        seed=5,
        bos_id=corpus.tokenizer.bos_id,
    )
    chosen = settings(schedule={"peak": 0.01, "warmup": 0})
    outcome = train(
        plan, corpus.folders, MODEL, chosen, tmp_path / "run", corpus.tokenizer,
        start=FromWeights.of_checkpoint(imported),
    )  # fmt: skip
    assert outcome.finished
    start = at_step(tmp_path / "run", 0)
    assert start.weights()["embedding"].equal(imported.weights()["embedding"])
    other = Phase(name="decay", decay=True, tokens=3 * BATCH, weights={"web": 1.0})
    compared = branch(
        start, {"web": [other]}, corpus.folders, tmp_path / "branches", validation=corpus.held_out
    )
    assert compared.outcomes["web"].finished
    losses = {name: row["web"].to_json()["loss"] for name, row in compared.losses.items()}
    assert losses["web"] < losses["start"]


def _edited(folder: Path, **changes: Any) -> None:
    values = json.loads((folder / "config.json").read_bytes())
    values |= changes
    (folder / "config.json").write_text(
        json.dumps({name: value for name, value in values.items() if value != "drop"})
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"architectures": ["Qwen2ForCausalLM"]}, "architectures"),
        ({"architectures": None, "model_type": "mistral"}, "architectures"),
        ({"attention_bias": True}, "attention_bias"),
        ({"sliding_window": 128}, "sliding_window"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"hidden_act": ["silu"]}, "hidden_act"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
         "rope_parameters.partial_rotary_factor"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "partial_rotary_factor": 0.25}},
         "rope_parameters.partial_rotary_factor"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"rope_parameters": {"rope_type": "llama3"}}, "rope_parameters.rope_type"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": None},
         "rope_parameters.rope_type"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "beta_fast": 16,
                              "original_max_position_embeddings": 16}},
         "rope_parameters.beta_fast"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": "x",
                              "original_max_position_embeddings": 16}}, "rope_parameters.factor"),
        ({"rope_parameters": "yarn"}, "rope_parameters"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 5}}}, "rope_parameters"),
        ({"rope_parameters": {"rope_theta": HUGE}}, "rope_parameters.rope_theta"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0,
                              "original_max_position_embeddings": HUGE}},
         "rope_parameters.original_max_position_embeddings"),
        ({"architectures": [["LlamaForCausalLM"]]}, "architectures"),
        ({"architectures": None, "model_type": {}}, "architectures"),
        ({"num_hidden_layers": HUGE}, "num_hidden_layers"),
        ({"initializer_range": HUGE}, "initializer_range"),
        ({"logits_scaling": 1e-320}, "logits_scaling"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"hidden_size": "32"}, "hidden_size"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"head_dim": 7}, "head_dim"),
        ({"logits_scaling": 0.0, "scale_emb": "drop"}, "logits_scaling"),
        ({"logits_scaling": 3.0}, "logits_scaling"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        ({"max_position_embeddings": -1}, "max_position_embeddings"),
        ({"intermediate_size": 1 << 30}, "model.layers.0.mlp.gate_proj.weight"),
        ({"num_hidden_layers": 3}, "model.layers.2.input_layernorm.weight"),
        ({"num_hidden_layers": 1}, "model.layers.1.input_layernorm.weight"),
        ({"tie_word_embeddings": False}, "lm_head.weight"),
        ({"vocab_size": 383}, "model.embed_tokens.weight"),
    ],
)  # fmt: skip
def test_a_config_that_is_not_this_models_is_refused(
    made: Made, tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    export_model(made("MHA"), tmp_path / "out")
    _edited(tmp_path / "out", **changes)
    with pytest.raises(UserError) as caught:
        import_model(tmp_path / "out", tmp_path / "in")
    assert caught.value.field == field
    assert caught.value.file
    assert caught.value.fix or caught.value.allowed
    assert not (tmp_path / "in").exists()


def test_other_names_and_values_of_what_models_here_have_are_taken(
    made: Made, tmp_path: Path
) -> None:
    """swish is silu in transformers; a whole rotary factor is none."""
    export_model(made("MHA"), tmp_path / "out")
    known = read_model(tmp_path / "out").said
    _edited(
        tmp_path / "out",
        hidden_act="swish",
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0,
                         "partial_rotary_factor": 1.0},
    )  # fmt: skip
    assert read_model(tmp_path / "out").said.config == known.config


@pytest.mark.parametrize(
    ("file", "text", "field"),
    [
        ("config.json", '{"vocab_size": 384, "hidden_size": 1, "vocab_size": 512}', "vocab_size"),
        (INDEX, '{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}', "a"),
        ("tokenizer_config.json", '{"legacy": true, "legacy": false}', "legacy"),
    ],
)
def test_a_key_that_stands_twice_is_refused(
    made: Made, tmp_path: Path, file: str, text: str, field: str
) -> None:
    export_model(made("MHA"), tmp_path / "out")
    (tmp_path / "out" / file).write_text(text)
    with pytest.raises(UserError, match="stands twice") as caught:
        read_model(tmp_path / "out")
    assert (caught.value.file, caught.value.field) == (str(tmp_path / "out" / file), field)
    assert caught.value.fix


@pytest.mark.parametrize("layers", [10**9, 10**4])
def test_a_claim_of_many_layers_takes_no_time(made: Made, tmp_path: Path, layers: int) -> None:
    export_model(made("MHA"), tmp_path / "out")
    _edited(tmp_path / "out", num_hidden_layers=layers)
    with pytest.raises(UserError):
        read_model(tmp_path / "out")


def _without(folder: Path, name: str) -> None:
    tensors = load_file(folder / SINGLE)
    del tensors[name]
    save_file(tensors, folder / SINGLE)


def _with(folder: Path, name: str, tensor: torch.Tensor) -> None:
    save_file({**load_file(folder / SINGLE), name: tensor}, folder / SINGLE)


@pytest.mark.parametrize(
    ("damage", "file", "field"),
    [
        (lambda out: _without(out, "model.norm.weight"), "", "model.norm.weight"),
        (lambda out: _with(out, "model.layers.0.self_attn.q_proj.bias", torch.ones(32)), "",
         "model.layers.0.self_attn.q_proj.bias"),
        (lambda out: _with(out, "model.norm.weight", torch.ones(31)), "", "model.norm.weight"),
        (lambda out: _with(out, "model.norm.weight", torch.full((32,), torch.nan)), "",
         "model.norm.weight"),
        (lambda out: (out / SINGLE).write_bytes(b"\x00" * 100), SINGLE, None),
        (lambda out: (out / SINGLE).write_bytes((out / SINGLE).read_bytes()[:-10]), SINGLE, None),
        (lambda out: (out / SINGLE).unlink(), "", None),
        (lambda out: (out / INDEX).write_text('{"weight_map": {"a": "../../etc/passwd"}}'), INDEX,
         None),
        (lambda out: (out / INDEX).write_text("[]"), INDEX, None),
        (lambda out: (out / INDEX).write_text('{"weight_map": {"a": "model.safetensors"}}'), SINGLE,
         "a"),
        (lambda out: (out / "config.json").unlink(), "config.json", None),
        (lambda out: (out / "config.json").write_text("[" * 100_000), "config.json", None),
        (lambda out: (out / "config.json").write_text("[]"), "config.json", None),
        (lambda out: [(out / f"tokenizer.{end}").unlink() for end in ("model", "json")],
         "tokenizer.model", None),
        (lambda out: (out / "tokenizer.model").write_bytes(b"x"), "tokenizer.model", None),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_refused_naming_the_file(
    made: Made, tmp_path: Path, damage: Callable[[Path], Any], file: str, field: str | None
) -> None:
    export_model(made("MHA"), tmp_path / "out")
    damage(tmp_path / "out")
    with pytest.raises(UserError) as caught:
        import_model(tmp_path / "out", tmp_path / "in")
    assert caught.value.file == str(tmp_path / "out" / file).rstrip("/")
    assert caught.value.field == field
    assert caught.value.fix or caught.value.found
    assert not (tmp_path / "in").exists()


def test_a_tokenizer_of_more_pieces_than_rows_is_refused(
    corpus: Corpus, made: Made, tmp_path: Path
) -> None:
    import pyarrow as pa

    export_model(made("MHA"), tmp_path / "out")
    texts = [pa.array(["the river and the boat and the mill"] * 50, pa.large_string())]
    train_tokenizer(texts, TrainConfig(vocab_size=400, reserved=110), tmp_path / "other.model")
    (tmp_path / "out/tokenizer.model").write_bytes((tmp_path / "other.model").read_bytes())
    with pytest.raises(UserError, match="more pieces than the model has rows"):
        import_model(tmp_path / "out", tmp_path / "in")


def test_a_folder_with_tokenizer_json_alone_speaks_and_goes_out_again(
    corpus: Corpus, made: Made, tmp_path: Path
) -> None:
    export_model(made("MHA"), tmp_path / "out")
    (tmp_path / "out/tokenizer.model").unlink()
    imported = import_model(tmp_path / "out", tmp_path / "in")
    chosen = GenerateSettings(tokens=12)
    assert generate(*speaker(imported, "cpu"), ["river"], chosen) == generate(
        *speaker(made("MHA"), "cpu"), ["river"], chosen
    )
    _, tokenizer = speaker(imported, "cpu")
    assert tokenizer.encode_text("a boat </s>") == corpus.tokenizer.encode_text("a boat </s>")
    done = export_model(imported, tmp_path / "again")
    assert "somebody else's" in done.ids
    assert contents(tmp_path / "again") == contents(tmp_path / "out")


def test_damaged_moments_are_refused(made: Made, tmp_path: Path) -> None:
    export_model(made("MHA"), tmp_path / "out", ExportSettings(moments=True))
    path = tmp_path / "out" / MOMENTS
    tensors = load_file(path)
    for facts in ({"updates": "-1", "rule": "2"}, {"updates": "1", "rule": "9"}, {"rule": "2"}):
        save_file(tensors, path, facts)
        with pytest.raises(UserError, match="not the moments of an export"):
            read_model(tmp_path / "out")
    del tensors["mean.embedding"]
    save_file(tensors, path, {"updates": "1", "rule": "2"})
    with pytest.raises(UserError, match="of another model"):
        read_model(tmp_path / "out")


def test_an_import_takes_no_place_twice(made: Made, tmp_path: Path) -> None:
    export_model(made("MHA"), tmp_path / "out")
    import_model(tmp_path / "out", tmp_path / "in")
    with pytest.raises(UserError, match="imported to this place already"):
        import_model(tmp_path / "out", tmp_path / "in")


def _tensors_edited(folder: Path, **changes: Any) -> None:
    tensors = load_file(folder / SINGLE)
    save_file({**tensors, **changes}, folder / SINGLE)


def test_another_head_beside_a_tied_embedding_is_refused(made: Made, tmp_path: Path) -> None:
    export_model(made("MHA"), tmp_path / "out")
    table = load_file(tmp_path / "out" / SINGLE)["model.embed_tokens.weight"]
    _tensors_edited(tmp_path / "out", **{"lm_head.weight": table.clone()})
    assert "head" not in read_model(tmp_path / "out").weights
    _tensors_edited(tmp_path / "out", **{"lm_head.weight": table + 1})
    with pytest.raises(UserError, match="holds another head"):
        read_model(tmp_path / "out")


def test_quantised_tensors_are_refused(made: Made, tmp_path: Path) -> None:
    export_model(made("MHA"), tmp_path / "out")
    gain = torch.ones(32, dtype=torch.int8)
    _tensors_edited(tmp_path / "out", **{"model.norm.weight": gain})
    with pytest.raises(UserError, match="no weights of a model here") as caught:
        read_model(tmp_path / "out")
    assert caught.value.found == "I8"


def test_two_sets_of_weights_are_refused(made: Made, tmp_path: Path) -> None:
    export_model(made("MHA"), tmp_path / "out")
    export_model(made("MHA"), tmp_path / "parted", ExportSettings(part_bytes=20_000))
    for path in (tmp_path / "parted").glob("model*"):
        path.rename(tmp_path / "out" / path.name)
    with pytest.raises(UserError, match="two sets of weights"):
        read_model(tmp_path / "out")
    (tmp_path / "out" / SINGLE).unlink()
    read_model(tmp_path / "out")


def test_a_file_or_a_checkpoint_to_import_is_told(made: Made, tmp_path: Path) -> None:
    export_model(made("MHA"), tmp_path / "out")
    with pytest.raises(UserError, match="this is a file") as caught:
        read_model(tmp_path / "out/config.json")
    assert str(tmp_path / "out") in str(caught.value)
    with pytest.raises(UserError, match="a checkpoint already"):
        read_model(made("MHA").folder)


def test_a_folder_to_import_is_no_checkpoint(made: Made, tmp_path: Path) -> None:
    export_model(made("MHA"), tmp_path / "out")
    with pytest.raises(UserError, match="imported first") as caught:
        load(tmp_path / "out")
    assert f"windtunnel import {tmp_path / 'out'}" in str(caught.value)


def test_a_pipe_in_place_of_settings_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(UserError, match="no model here"):
        read_model(tmp_path)


def test_moments_that_an_import_has_not_cannot_be_exported(made: Made, tmp_path: Path) -> None:
    export_model(made("MHA"), tmp_path / "out")
    imported = import_model(tmp_path / "out", tmp_path / "in")
    with pytest.raises(UserError, match="imported without"):
        export_model(imported, tmp_path / "again", ExportSettings(moments=True))
    assert not (tmp_path / "again").exists()


def test_rows_that_no_piece_has_are_never_said(made: Made, tmp_path: Path) -> None:
    """Others' tables are often longer than their vocabulary."""
    export_model(made("MHA"), tmp_path / "out")
    rows = 500
    values = json.loads((tmp_path / "out/config.json").read_bytes())
    grown = load_file(tmp_path / "out" / SINGLE)["model.embed_tokens.weight"]
    grown = torch.nn.functional.pad(grown, (0, 0, 0, rows - len(grown)), value=3.0)
    _edited(tmp_path / "out", vocab_size=rows)
    _tensors_edited(tmp_path / "out", **{"model.embed_tokens.weight": grown})
    model, tokenizer = speaker(import_model(tmp_path / "out", tmp_path / "in"))
    assert (model.config.vocab_size, tokenizer.vocab_size) == (rows, values["vocab_size"])
    for seed in range(5):
        generate(model, tokenizer, ["a"], GenerateSettings(tokens=20, temperature=9.0, seed=seed))
