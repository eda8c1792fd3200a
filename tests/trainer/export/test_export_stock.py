"""Exports as transformers loads them: logits, gradients, packed rows, texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.loop_corpus import Corpus
from trainer.checkpoints.checkpoint import Checkpoint
from trainer.checkpoints.weights import model_of
from trainer.evaluation.generate import GenerateSettings, continuation
from trainer.export.export import ExportSettings, export_model
from trainer.export.layouts import LAYOUTS

Made = Callable[[str], Checkpoint]
STOCK = ("granite", "llama")


def stock(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")


def drawn(corpus: Corpus, length: int = 60) -> torch.Tensor:
    source = torch.Generator().manual_seed(3)
    return torch.randint(corpus.tokenizer.vocab_size, (1, length), generator=source)


@pytest.mark.parametrize("layout", STOCK)
@pytest.mark.parametrize("shape", ["MHA", "GQA", "untied", "yarn", "dynamic", "ntk"])
def test_transformers_has_the_logits_of_the_checkpoint(
    corpus: Corpus, made: Made, tmp_path: Path, shape: str, layout: str
) -> None:
    checkpoint = made(shape)
    export_model(checkpoint, tmp_path / "out", ExportSettings(layout=layout))
    tokens = drawn(corpus)
    own, theirs = model_of(checkpoint), stock(tmp_path / "out")
    with torch.no_grad():
        expected = own.logits(own(tokens, torch.arange(60)[None]))
        found = theirs(tokens).logits
    assert type(theirs).__name__ == LAYOUTS[layout].architecture
    assert theirs.config.tie_word_embeddings == (shape != "untied")
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("layout", STOCK)
def test_a_head_of_its_own_gives_the_same_logits(
    corpus: Corpus, made: Made, tmp_path: Path, layout: str
) -> None:
    checkpoint = made("GQA")
    export_model(checkpoint, tmp_path / "out", ExportSettings(layout=layout, untie=True))
    own, theirs = model_of(checkpoint), stock(tmp_path / "out")
    tokens = drawn(corpus)
    with torch.no_grad():
        expected = own.logits(own(tokens, torch.arange(60)[None]))
        torch.testing.assert_close(theirs(tokens).logits, expected, atol=1e-4, rtol=1e-5)
    assert not theirs.config.tie_word_embeddings


@pytest.mark.parametrize("layout", STOCK)
def test_packed_documents_are_those_apart(
    corpus: Corpus, made: Made, tmp_path: Path, layout: str
) -> None:
    export_model(made("GQA"), tmp_path / "out", ExportSettings(layout=layout))
    theirs, tokens = stock(tmp_path / "out"), drawn(corpus, 40)
    positions = torch.cat([torch.arange(25), torch.arange(15)])[None]
    with torch.no_grad():
        packed = theirs(tokens, attention_mask=None, position_ids=positions, use_cache=False).logits
        apart = [theirs(part).logits for part in (tokens[:, :25], tokens[:, 25:])]
    torch.testing.assert_close(packed, torch.cat(apart, 1), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("shape", ["GQA", "untied"])
@pytest.mark.parametrize("layout", STOCK)
def test_gradients_are_ours_times_the_factor_of_folding(
    corpus: Corpus, made: Made, tmp_path: Path, layout: str, shape: str
) -> None:
    """w' = f w has the gradient g / f; of one table for embedding and head they join, so there the
    rows of the input alone cannot be told: those models are compared by their hidden matrices.
    """
    checkpoint = made(shape)
    export_model(checkpoint, tmp_path / "out", ExportSettings(layout=layout))
    own, theirs, tokens = model_of(checkpoint), stock(tmp_path / "out"), drawn(corpus)
    loss = torch.nn.functional.cross_entropy
    own_logits = own.logits(own(tokens, torch.arange(60)[None]))
    loss(own_logits[0, :-1], tokens[0, 1:]).backward()
    loss(theirs(tokens).logits[0, :-1], tokens[0, 1:]).backward()
    config = own.config
    factors = LAYOUTS[layout].factors(config, config.tied)
    found = dict(theirs.named_parameters())
    layer = own.layers[1]
    pairs = [
        (f"model.layers.1.{name}.weight", gradient)
        for name, gradient in (
            ("self_attn.q_proj", layer.attention.qkv.weight.grad[: config.heads * config.head_dim]),
            ("self_attn.o_proj", layer.attention.out.weight.grad),
            ("mlp.up_proj", layer.feed_forward.gate_up.weight.grad[config.ff :]),
            ("mlp.down_proj", layer.feed_forward.down.weight.grad),
            ("input_layernorm", layer.attention_norm.weight.grad),
        )
    ]
    pairs.append(("model.norm.weight", own.final_norm.weight.grad))
    if shape == "untied":
        rows = config.vocab_size
        pairs.append(("lm_head.weight", own.head.grad[:rows]))
        pairs.append(("model.embed_tokens.weight", own.embedding.grad[:rows]))
    for name, gradient in pairs:
        expected = gradient / factors.of(name)
        torch.testing.assert_close(found[name].grad, expected, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("layout", STOCK)
def test_the_same_greedy_text(corpus: Corpus, made: Made, tmp_path: Path, layout: str) -> None:
    checkpoint = made("MHA")
    export_model(checkpoint, tmp_path / "out", ExportSettings(layout=layout))
    own, theirs = model_of(checkpoint), stock(tmp_path / "out")
    prompt = [corpus.tokenizer.bos_id, *corpus.tokenizer.encode_text("river boat")]
    said = continuation(own, prompt, corpus.tokenizer.eos_id, GenerateSettings(tokens=64))
    found = theirs.generate(
        torch.tensor([prompt]), max_new_tokens=64, do_sample=False, pad_token_id=0
    )
    texts = found[0, len(prompt) :].tolist()
    assert [token for token in texts if token != corpus.tokenizer.eos_id] == said
    assert len(said) > 20


def test_bf16_is_rounded_after_folding(corpus: Corpus, made: Made, tmp_path: Path) -> None:
    checkpoint = made("GQA")
    done = export_model(checkpoint, tmp_path / "out", ExportSettings(layout="llama", dtype="bf16"))
    theirs = stock(tmp_path / "out", torch.bfloat16)
    whole = export_model(checkpoint, tmp_path / "whole", ExportSettings(layout="llama"))
    folded = dict(stock(tmp_path / "whole").named_parameters())
    for name, value in theirs.named_parameters():
        assert value.equal(folded[name].to(torch.bfloat16)), name
    assert 0 < done.logits.mean_kl < 1e-2
    assert whole.logits.mean_kl < 1e-9
