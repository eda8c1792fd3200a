"""What tests of the training loop share, made once per session: a corpus, and a run that was never
interrupted.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.loop_corpus import Corpus, make_corpus
from tests.trainer.loop_runs import BATCH, DECAY, STABLE, run


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def whole(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run. Nobody may change it."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    outcome = run(corpus, folder)
    steps = STABLE + DECAY
    assert (outcome.step, outcome.exit_code, outcome.finished, outcome.tokens) == (
        steps,
        0,
        True,
        steps * BATCH,
    )
    return folder
