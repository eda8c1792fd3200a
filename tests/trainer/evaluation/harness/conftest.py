"""A small model with its tokenizer, and no way out to any network."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

from artifacts.paths import Store
from tests.trainer.loop_corpus import Corpus
from tokenizer.encode import Tokenizer
from trainer.checkpoints.checkpoint import Checkpoint, at_step, saved
from trainer.checkpoints.weights import model_of
from trainer.model import Model

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported
WINDOW = 48


class Trained(NamedTuple):
    """A model that learned a little, its tokenizer and its checkpoint."""

    model: Model
    tokenizer: Tokenizer
    checkpoint: Checkpoint


@pytest.fixture(scope="session")
def trained(corpus: Corpus, whole: Path) -> Trained:
    store = Store(whole)
    checkpoint = at_step(store, max(saved(store)))
    return Trained(model_of(checkpoint), corpus.tokenizer, checkpoint)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a socket fails."""

    def refuse(*arguments: object, **keywords: object) -> NoReturn:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
