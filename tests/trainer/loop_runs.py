"""Small runs for the tests of the loop: a plan, settings, and what a run left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artifacts.paths import Store
from mixtures.freeze.freeze import Plan, freeze
from mixtures.spec.spec import MixtureSpec, Phase
from tests.trainer.loop_corpus import Corpus
from tokenizer.shards.reader import open_source
from trainer.checkpoints.checkpoint import at_step, saved
from trainer.loop.settings import ModelSettings, TrainSettings
from trainer.loop.training import TrainOutcome, train

MODEL = ModelSettings(width=32, layers=2, heads=2, kv_heads=1, head_dim=16, ff=48)
LENGTH, BATCH = 32, 256
STABLE, DECAY = 8, 4
WEB = Phase(name="stable", tokens=STABLE * BATCH, weights={"web": 0.6, "code": 0.4})
MIXED = Phase(name="decay", decay=True, tokens=DECAY * BATCH, weights={"web": 0.5, "chat": 0.5})


def settings(**changes: Any) -> TrainSettings:
    facts = {
        "sequence_length": LENGTH,
        "batch_tokens": BATCH,
        "micro_batch_tokens": 96,
        "schedule": {"peak": 0.02, "warmup": 3},
        "checkpoint_every": 5,
        "validate_every": 4,
        "validation_windows": 6,
        "threads": 1,
        "tensorboard": False,
    }
    return TrainSettings.model_validate({**facts, **changes})


def plan(corpus: Corpus, *phases: Phase, seed: int = 1) -> Plan:
    sources = {name: open_source(folder) for name, folder in corpus.folders.items()}
    spec = MixtureSpec(phases=phases or (WEB, MIXED))
    return freeze(
        spec,
        sources,
        sequence_length=LENGTH,
        batch_tokens=BATCH,
        seed=seed,
        bos_id=corpus.tokenizer.bos_id,
    )


def run(corpus: Corpus, folder: Path | str, **options: Any) -> TrainOutcome:
    """Train the small plan in ``folder``; options are those of :func:`trainer.loop.training.train`,
    with plan and settings.
    """
    frozen, chosen = (
        options.pop("plan", None) or plan(corpus),
        options.pop("settings", None) or settings(),
    )
    return train(
        frozen,
        corpus.folders,
        options.pop("model", MODEL),
        chosen,
        folder,
        corpus.tokenizer,
        **{"validation": corpus.held_out, **options},
    )


def traces(folder: Path) -> dict[str, bytes]:
    """What must not depend on interruptions: metrics, and the tensors of every checkpoint that was
    asked for.
    """
    store = Store(folder)
    found = {name: store.read(f"metrics/{name}.jsonl") for name in ("train", "validation", "data")}
    for step in saved(store):
        checkpoint = at_step(store, step)
        if checkpoint.state.asked:
            found |= {
                f"{step}/{name}": checkpoint.read(name)
                for name in ("weights.safetensors", "moments.safetensors")
            }
    return found
