"""A model over a cache says what it says over whole texts, whatever is read beside and how it is
cut.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.model import Model, ModelConfig, init
from trainer.model.cache import FEWEST_TOKENS, Cache

TOLERANCE = 1e-5  # of the largest score
CONTEXT = 12

ROTARY: list[dict[str, Any]] = [
    {},
    {"rope_scaling": "ntk", "rope_factor": 4.0},
    {"rope_scaling": "dynamic", "rope_factor": 2.0, "rope_original_context": CONTEXT},
    {"rope_scaling": "yarn", "rope_factor": 4.0, "rope_original_context": CONTEXT},
]


def model_of(**settings: Any) -> Model:
    shape = {"vocab_size": 96, "width": 24, "layers": 2, "heads": 4, "kv_heads": 2, "ff": 40}
    config = ModelConfig(**{**shape, "head_dim": 8, "dim_model_base": 24, **settings})
    model = Model(config)
    init(model, config, seed=1)
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():  # gains too
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.requires_grad_(False)


models = st.builds(
    lambda heads, tied, qk_norm, rotary: model_of(
        heads=heads[0], kv_heads=heads[1], tied=tied, qk_norm=qk_norm, **rotary
    ),
    st.sampled_from([(4, 4), (4, 2), (4, 1), (3, 3), (6, 2)]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(ROTARY),
)


def texts(lengths: list[int], seed: int = 3) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(96, (length,), generator=generator).tolist() for length in lengths]


def whole(model: Model, ids: list[int]) -> torch.Tensor:
    """Scores (V,) after all of the ids, without a cache."""
    return model.logits(model(torch.tensor([ids]), torch.arange(len(ids))[None])[0, -1])


def assert_close(cached: torch.Tensor, expected: torch.Tensor) -> None:
    assert (cached - expected).abs().max() <= TOLERANCE * expected.abs().max()


def read(model: Model, cache: Cache, rows: list[int], done: list[list[int]], ids: Any) -> Any:
    """Hidden states after ``ids`` more, rows that no longer hold read anew; ``done`` grows."""
    for row, more in zip(rows, ids, strict=True):
        done[row] = done[row] + list(more)
    stale = [row for row in rows if not cache.keeps(len(done[row]))]
    for row in stale:
        cache.clear(row)
    asked = [done[row] if row in stale else more for row, more in zip(rows, ids, strict=True)]
    return model.read(cache, rows, asked)


@given(models, st.lists(st.integers(1, 2 * CONTEXT), min_size=1, max_size=5), st.integers(1, 6))
def test_every_token_has_the_scores_that_it_has_without_a_cache(
    model: Model, lengths: list[int], steps: int
) -> None:
    cache, prompts = Cache(model.config), texts(lengths)
    rows = [cache.add() for _ in prompts]
    done: list[list[int]] = [[] for _ in prompts]
    more: list[list[int]] = prompts
    for step in range(steps):
        scores = model.logits(read(model, cache, rows, done, more))
        for row in rows:
            assert_close(scores[row], whole(model, done[row]))
        more = [[token] for (token,) in texts([1] * len(rows), seed=10 + step)]


@given(
    models,
    st.integers(1, 4),
    st.lists(st.lists(st.integers(0, 7), min_size=4, max_size=4), min_size=1, max_size=5),
)
def test_how_a_text_is_cut_changes_nothing(
    model: Model, count: int, passes: list[list[int]]
) -> None:
    """In each pass some rows read some tokens, in any order of rows."""
    cache = Cache(model.config)
    rows = [cache.add() for _ in range(count)]
    done: list[list[int]] = [[] for _ in rows]
    for number, counts in enumerate(passes):
        reading = [row for row in reversed(rows) if counts[row]]
        if not reading:
            continue
        ids = texts([counts[row] for row in reading], seed=number)
        scores = model.logits(read(model, cache, reading, done, ids))
        for row, found in zip(reading, scores, strict=True):
            assert_close(found, whole(model, done[row]))
        assert cache.lengths == [len(ids) for ids in done]


def test_a_row_that_leaves_gives_its_number_to_the_last_and_disturbs_nobody() -> None:
    model = model_of()
    cache, prompts = Cache(model.config), texts([9, 3, 70, 5])
    for _ in prompts:
        cache.add()
    model.read(cache, [0, 1, 2, 3], prompts)
    cache.remove(1)
    assert cache.lengths == [9, 5, 70]
    cache.remove(2)
    scores = model.logits(model.read(cache, [0, 1], [[7], [8]]))
    assert_close(scores[0], whole(model, [*prompts[0], 7]))
    assert_close(scores[1], whole(model, [*prompts[3], 8]))
    row = cache.add()
    assert_close(model.logits(model.read(cache, [row], [prompts[1]]))[0], whole(model, prompts[1]))


def test_a_cache_grows_past_every_size_it_began_with() -> None:
    model = model_of(rope_scaling="yarn", rope_factor=8.0, rope_original_context=16)
    cache = Cache(model.config)
    (ids,) = texts([2 * FEWEST_TOKENS + 3])
    row = cache.add()
    model.read(cache, [row], [ids[:1]])
    for token in ids[1:]:
        hidden = model.read(cache, [row], [[token]])
    assert_close(model.logits(hidden)[0], whole(model, ids))


def test_a_dynamic_table_that_has_changed_is_not_read_over_old_keys() -> None:
    model = model_of(rope_scaling="dynamic", rope_factor=2.0, rope_original_context=CONTEXT)
    cache = Cache(model.config)
    (ids,) = texts([CONTEXT + 1])
    row = cache.add()
    model.read(cache, [row], [ids[:-1]])
    assert cache.keeps(CONTEXT)
    assert not cache.keeps(CONTEXT + 1)
    with pytest.raises(ValueError, match="read all of it"):
        model.read(cache, [row], [ids[-1:]])
    cache.clear(row)
    assert_close(model.logits(model.read(cache, [row], [ids]))[0], whole(model, ids))


@pytest.mark.parametrize(
    ("rows", "ids"), [([0, 0], [[1], [2]]), ([0], [[]]), ([], []), ([0, 1], [[1]])]
)
def test_a_pass_that_makes_no_sense_is_refused(rows: list[int], ids: list[list[int]]) -> None:
    model = model_of()
    cache = Cache(model.config)
    cache.add()
    cache.add()
    with pytest.raises(ValueError, match="cannot read"):
        model.read(cache, rows, ids)


def test_a_model_in_fp64_reads_over_a_cache_of_its_own_dtype() -> None:
    model = model_of().double()
    cache = Cache(model.config, dtype=torch.float64)
    prompts = texts([9, 4])
    rows = [cache.add() for _ in prompts]
    model.read(cache, rows, [ids[:-1] for ids in prompts])
    scores = model.logits(model.read(cache, rows, [ids[-1:] for ids in prompts]))
    for row in rows:
        expected = whole(model, prompts[row])
        assert (scores[row] - expected).abs().max() <= 1e-6 * expected.abs().max()
