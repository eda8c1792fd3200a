"""The tokenizer report, against figures counted one document at a time."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tokenizer.encode import Tokenizer
from tokenizer.report import source_report


def test_figures_equal_those_counted_by_sentencepiece(
    tokenizer: Tokenizer, texts: pa.LargeStringArray
) -> None:
    report = source_report("web", [texts[:100], texts[100:]], tokenizer)
    rows = tokenizer.processor.encode(texts.to_pylist())
    tokens = [token for row in rows for token in row]
    size = sum(len(text.encode()) for text in texts.to_pylist())
    normal = [
        token
        for token in range(tokenizer.vocab_size)
        if not (
            tokenizer.processor.is_byte(token)
            or tokenizer.processor.is_control(token)
            or tokenizer.processor.is_unknown(token)
        )
    ]
    assert (report.documents, report.bytes, report.tokens) == (len(texts), size, len(tokens))
    assert report.bytes_per_token == pytest.approx(size / len(tokens))
    assert report.tokens_per_document == pytest.approx(len(tokens) / len(texts))
    assert report.unused_share == pytest.approx(
        sum(token not in set(tokens) for token in normal) / len(normal)
    )
    assert report.byte_token_share == pytest.approx(
        sum(tokenizer.processor.is_byte(token) for token in tokens) / len(tokens)
    )
    assert report.round_trip_failures == 0


def test_ready_ids_with_eos_give_the_same_report(
    tokenizer: Tokenizer, texts: pa.LargeStringArray
) -> None:
    ready = source_report("web", [texts], tokenizer, [tokenizer.encode(texts, eos=True)])
    assert ready == source_report("web", [texts], tokenizer)


def test_ids_of_another_text_count_as_failures(tokenizer: Tokenizer) -> None:
    texts = pa.array(["the river", "the boats"], pa.large_string())
    swapped = tokenizer.encode(texts.take(pa.array([0, 0])))
    assert source_report("web", [texts], tokenizer, [swapped]).round_trip_failures == 1


def test_bytes_are_counted_where_no_piece_fits(tokenizer: Tokenizer) -> None:
    report = source_report("emoji", [pa.array(["😀"], pa.large_string())], tokenizer)
    assert (report.tokens, report.byte_token_share) == (4, 1.0)


def test_an_empty_source_has_zeros(tokenizer: Tokenizer) -> None:
    report = source_report("none", [], tokenizer)
    assert (report.documents, report.tokens, report.bytes_per_token, report.unused_share) == (
        0,
        0,
        0.0,
        1.0,
    )
