"""What training shards hold of held-out documents: counted by source, once for the same shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from artifacts.paths import Store
from pipelines.studies.base import Ground
from pipelines.studies.held_out import FOLDER, NearlyHeld, held_nearly, held_out_table
from pipelines.training.materials import Materials
from tests.trainer.loop_corpus import WORDS, write_shards
from tokenizer.encode import Tokenizer
from tokenizer.train import TrainConfig, train

LONG = 40  # words, and so 28 n-grams of 13


def passage(seed: int, words: int = LONG) -> list[str]:
    draw = np.random.default_rng(seed)
    return [f"{WORDS[place]}{number}" for number, place in enumerate(draw.integers(0, 18, words))]


class Shards:
    """Shards of texts below a folder, and the ground of an experiment over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        sample = pa.array([" ".join(passage(seed)) for seed in range(50)], pa.large_string())
        train([sample], TrainConfig(vocab_size=384), folder / "tokenizer.model")
        self.tokenizer = Tokenizer.load(folder / "tokenizer.model")

    def write(self, name: str, texts: list[list[str]]) -> Path:
        column = pa.array([" ".join(words) for words in texts], pa.large_string())
        tokens = self.tokenizer.encode(column, eos=True)
        return write_shards(self.folder / name, name, tokens, None, self.tokenizer)

    def ground(self, training: dict[str, Path], held_out: dict[str, Path]) -> Ground:
        folders = cast(dict[str, Path | str], training)
        materials = Materials(folders, {}, self.tokenizer)
        return Ground(
            Store(self.folder),
            {},
            materials,
            cast(Any, None),
            cast(dict[str, Path | str], held_out),
        )


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    return Shards(tmp_path)


def test_a_document_is_held_by_one_that_has_half_of_its_ngrams(
    shards: Shards, tmp_path: Path
) -> None:
    copied, quoted, divided, in_both, apart = (passage(seed) for seed in range(5))
    half = 13 + 13  # words of which 14 n-grams of 28 are made
    web = shards.write(
        "web",
        [
            [*passage(6), *copied[:half]],
            [*passage(7), *quoted[: half - 1]],
            divided[:20],
            divided[20:],
            in_both,
        ],
    )
    code = shards.write("code", [[*in_both, "end"], passage(8)])
    held = shards.write(
        "web-validation", [copied, quoted, divided, in_both, apart, passage(9, words=7)]
    )
    found = held_nearly(
        shards.ground({"web": web, "code": code}, {"web-validation": held}), Store(tmp_path)
    )
    assert found == [
        NearlyHeld(source="web", documents=6, searched=5, held=2, held_by={"code": 1, "web": 2})
    ]
    assert found[0].share == pytest.approx(0.4)
    table = held_out_table(found)
    assert table.rows == (("web", 6, 5, 2, 0.4, "code 1, web 2"),)


def test_a_source_that_is_held_out_whole_is_not_looked_for_in_itself(
    shards: Shards, tmp_path: Path
) -> None:
    web, other = shards.write("web", [passage(1)]), shards.write("other", [passage(2)])
    ground = shards.ground({"web": web, "other": other}, {"other": other})
    (found,) = held_nearly(ground, Store(tmp_path))
    assert (found.source, found.held, found.held_by) == ("other", 0, {"web": 0})


def test_it_is_computed_once_for_the_same_shards(shards: Shards, tmp_path: Path) -> None:
    web, held = shards.write("web", [passage(1)]), shards.write("web-validation", [passage(1)])
    ground, store = shards.ground({"web": web}, {"web-validation": held}), Store(tmp_path / "kept")
    first = held_nearly(ground, store)
    (name,) = store.names(f"{FOLDER}/")
    assert (first[0].held, first[0].share) == (1, 1.0)
    marked = store.read(name).replace(b'"documents":1', b'"documents":9')
    store.write(name, marked)
    assert held_nearly(ground, store)[0].documents == 9  # what is kept is what is said
    more = shards.write("more", [passage(3)])
    assert held_nearly(shards.ground({"web": more}, {"web-validation": held}), store)[0].held == 0
    store.write(name, b"{")
    assert held_nearly(ground, store) == first


def test_a_document_too_short_to_look_for_has_no_share(shards: Shards, tmp_path: Path) -> None:
    web = shards.write("web", [passage(1)])
    held = shards.write("web-validation", [passage(1, words=7)])
    (found,) = held_nearly(shards.ground({"web": web}, {"web-validation": held}), Store(tmp_path))
    assert (found.searched, found.held, found.share) == (0, 0, None)
