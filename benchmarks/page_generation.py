"""The section of the performance page on writing text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.page_tables import heading, table

RATIOS = {
    "cached_over_one_token": "time over that of passes of one token that look at no other",
    "cached_over_one_token_cached": "the same, these passes by the cache too",
    "uncached_over_cached": "time without a cache over time with it",
    "batch_over_cached": "tokens per second of a batch over those of one prompt",
}


def generation_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """A cache of keys and values, and batches."""
    yield from heading("Writing text", name, result)
    asked = result["asked"]
    rows = result["rows_of_a_batch"]
    yield (
        f"{result['tokens']} tokens, greedy, with random weights and a vocabulary of "
        f"{result['vocabulary']:,}, in processor seconds of one thread: medians of "
        f"{result['rounds']} rounds in which all sides run one after another, with the lowest and "
        f"the highest. The batch is of {rows} prompts of different lengths."
    )
    yield ""
    presets = result["presets"]
    sides = {
        "one prompt": "cached",
        "without a cache": "uncached",
        f"{rows} prompts at once": "batch",
    }
    yield from table(
        ("tokens per second", *presets),
        [
            (said, *(f"{found['tokens_per_second'][side]:,.0f}" for found in presets.values()))
            for said, side in sides.items()
        ],
    )
    yield ""
    yield from table(
        ("ratio", *presets),
        [
            (said, *(spread(found[ratio]) for found in presets.values()))
            for ratio, said in RATIOS.items()
        ],
    )
    yield ""
    least = " and ".join(
        f"{value:g} on `{one}`" for one, value in asked["uncached_over_cached"].items()
    )
    yield (
        f"Asked were at most {asked['cached_over_one_token']:g} in the first row, at least {least} "
        f"in the third and {asked['batch_over_cached']:g} in the fourth."
    )


def spread(values: dict[str, float]) -> str:
    return f"{values['median']:.2f} ({values['lowest']:.2f} to {values['highest']:.2f})"
