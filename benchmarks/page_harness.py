"""The section of the performance page on benchmarks through lm-evaluation-harness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.page_tables import heading, table

NAMES = {
    "mmlu_redux": "MMLU-Redux, by likelihood",
    "gsm8k_cot": "GSM8K, eight solved problems, written",
    "bbh_zeroshot": "BIG-Bench Hard, written",
}


def harness_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Our class for the harness against the harness's own on an export."""
    yield from heading("Benchmarks through lm-evaluation-harness", name, result)
    yield (
        f"A model of {result['model']['parameters']:,} parameters in fp32, by our class on the "
        "checkpoint and by the harness's class for Hugging Face models on its Granite export, "
        f"which reads {result['rows_at_once']} rows at once. Windows of {result['window']} tokens, "
        f"at most {result['new_tokens']} new ones, greedy. Seconds by the wall, medians of "
        f"{result['pairs']} pairs; in brackets the lowest and the highest ratio within a pair."
    )
    yield ""
    yield from table(
        (
            "benchmark",
            "questions",
            "choices or texts that differ",
            "of these within 1e-4 nats",
            "ours, s",
            "theirs, s",
            "theirs over ours",
            "with what both share",
        ),
        [
            (
                NAMES[one],
                f"{found['questions']:,}",
                f"{found['different']:,}",
                f"{found['ties']:,}",
                f"{found['seconds_calls']['ours']['median']:.2f}",
                f"{found['seconds_calls']['theirs']['median']:.2f}",
                _ratio(found["theirs_over_ours_calls"]),
                _ratio(found["theirs_over_ours_all"]),
            )
            for one, found in result["benchmarks"].items()
        ],
    )
    yield ""
    largest = max(found["largest_difference"] for found in result["benchmarks"].values())
    whole = result["whole_texts"]
    bits = whole["bits_per_byte"]
    yield (
        f"The log-likelihood of an option differs by {largest:.1e} nats at most. Both share what "
        "the harness does itself: reading questions, making prompts, counting. Whole texts "
        f"({whole['texts']} solutions) cost {bits['ours']:.4f} bits per byte by ours and "
        f"{bits['theirs, one BOS']:.4f} by theirs with one BOS; the largest relative difference "
        f"of a text is {whole['largest_relative_difference']:.1e}. With `add_bos_token`, which the "
        f"other benchmarks need, theirs reads two and says {bits['theirs, two BOS']:.4f}."
    )


def _ratio(values: dict[str, float]) -> str:
    return f"{values['median']:.2f} ({values['lowest']:.2f} to {values['highest']:.2f})"
