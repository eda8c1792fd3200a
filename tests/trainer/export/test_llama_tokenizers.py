"""Models whose tokenizer puts a space before a text: taken in, trained on, measured, handed out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from mixtures.freeze.freeze import freeze
from mixtures.loader.loader import Batch, Loader
from mixtures.spec.spec import MixtureSpec, Phase
from tests.llama_folders import TEXTS, odd_texts, write_llama_tokenizer
from tests.trainer.loop_corpus import write_shards
from tests.trainer.loop_runs import BATCH, LENGTH, settings
from tokenizer.encode import Tokenizer
from tokenizer.shards.reader import open_source
from tokenizer.vocabulary import CONTROL
from trainer.checkpoints.checkpoint import Checkpoint, at_step
from trainer.evaluation.generate import GenerateSettings, generate, speaker, stream
from trainer.evaluation.text_loss import text_losses
from trainer.export.export import ExportSettings, export_model
from trainer.export.read import import_model
from trainer.loop.branch import branch
from trainer.loop.settings import ModelSettings
from trainer.loop.start import FromWeights
from trainer.loop.training import train
from trainer.objectives.losses import token_bytes
from trainer.objectives.next_token import NATS, NextToken

Made = Callable[[str], Checkpoint]
TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json", "tokenizer_config.json")


@pytest.fixture(params=["model", "json"])
def folder(request: pytest.FixtureRequest, made: Made, tmp_path: Path) -> Path:
    """A Llama as others hand it out: with a SentencePiece model, or its tokenizer.json alone."""
    from transformers import LlamaTokenizer

    export_model(made("GQA"), tmp_path / "out", ExportSettings(layout="llama"))
    for path in (tmp_path / "out").iterdir():
        if path.name.startswith(("tokenizer", "special", "chat")):
            path.unlink()
    said = write_llama_tokenizer(tmp_path / "said", legacy=True)
    if request.param == "json":
        LlamaTokenizer.from_pretrained(said).save_pretrained(tmp_path / "json")
        said = tmp_path / "json"
    for path in said.iterdir():
        path.rename(tmp_path / "out" / path.name)
    _grow(tmp_path / "out", 420)
    return tmp_path / "out"


def _grow(folder: Path, rows: int) -> None:
    """As many rows as the tokenizer has pieces."""
    values = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps({**values, "vocab_size": rows}))
    tensors = load_file(folder / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in tensors:
            missing = rows - len(tensors[name])
            tensors[name] = torch.nn.functional.pad(tensors[name], (0, 0, 0, missing), value=0.01)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _shards(folder: Path, checkpoint: Checkpoint) -> Path:
    _, tokenizer = speaker(checkpoint)
    texts = [text for text in [*TEXTS * 40, *odd_texts(100)] if text]
    tokens = tokenizer.encode(pa.array(texts, pa.large_string()), eos=True)
    assert tokenizer.decode(tokens, controls=False).to_pylist() == texts
    return write_shards(folder, "web", tokens, None, tokenizer)


def _check_bytes(batch: Batch, tokenizer: Tokenizer) -> None:
    """Targets have the bytes of the texts: the space before each is not counted."""
    nats = {NATS: np.zeros(batch.targets.shape, np.float32)}
    found = NextToken.of(tokenizer).measure(batch, nats, ["web"])["web"]
    pairs = zip(batch.tokens.ravel().tolist(), batch.targets.ravel().tolist(), strict=True)
    kinds = tokenizer.vocabulary.kinds
    said = [
        tokenizer.decoder.surface(target, before)
        for before, target in pairs
        if kinds[target] != CONTROL
    ]
    assert batch.weights.min() == 1
    assert found.bytes == sum(map(len, said))
    assert found.bytes < sum(token_bytes(tokenizer)[batch.targets].ravel())


def test_such_a_model_trains_on_is_measured_and_goes_out_with_its_own_files(
    folder: Path, tmp_path: Path
) -> None:
    imported = import_model(folder, tmp_path / "in")
    model, tokenizer = speaker(imported, "cpu")
    shards = {"web": _shards(tmp_path / "shards", imported)}
    steps = Phase(name="on", tokens=3 * BATCH, weights={"web": 1.0})
    plan = freeze(
        MixtureSpec(phases=(steps,)),
        {"web": open_source(shards["web"])},
        sequence_length=LENGTH,
        batch_tokens=BATCH,
        seed=5,
        bos_id=tokenizer.bos_id,
    )
    _check_bytes(Loader(plan, shards).batch(0), tokenizer)
    shape = ModelSettings.model_validate(imported.state.model)
    chosen = settings(schedule={"peak": 0.01, "warmup": 0})
    start = FromWeights.of_checkpoint(imported)
    assert train(plan, shards, shape, chosen, tmp_path / "run", tokenizer, start=start).finished
    trained = at_step(tmp_path / "run", 3)
    decay = Phase(name="decay", decay=True, tokens=2 * BATCH, weights={"web": 1.0})
    ends = branch(
        trained, {"end": [decay]}, shards, tmp_path / "branches", validation={"web": shards["web"]}
    )
    assert ends.outcomes["end"].finished

    texts = ["the river", " the river", ""]
    model, tokenizer = speaker(trained, "cpu")
    losses = text_losses(model, tokenizer, texts, window=16)
    assert [loss.bytes for loss in losses] == [9, 10, 0]
    (said,) = generate(model, tokenizer, ["the river"], GenerateSettings(tokens=8))
    assert said == "".join(stream(model, tokenizer, "the river", GenerateSettings(tokens=8)))

    export_model(trained, tmp_path / "again", ExportSettings(layout="llama"))
    for name in TOKENIZER_FILES:
        if (folder / name).exists():
            assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    back = import_model(tmp_path / "again", tmp_path / "back")
    assert back.state.tokenizer_hash == imported.state.tokenizer_hash
