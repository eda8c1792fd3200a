"""How well a tokenizer fits each source: bytes per token, unused pieces, texts that do not come
back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tokenizer.encode import Tokenizer
from tokenizer.shards.reader import token_batch
from tokenizer.vocabulary import BYTE, NORMAL


@dataclass(frozen=True)
class SourceReport:
    """One source. Tokens do not count EOS.

    ``unused_share``: share of the normal pieces that no document used; ``byte_token_share``: share
    of tokens that are single bytes; ``round_trip_failures``: documents that decode to another text.
    """

    source: str
    documents: int
    bytes: int
    tokens: int
    bytes_per_token: float
    tokens_per_document: float
    unused_share: float
    byte_token_share: float
    round_trip_failures: int


def source_report(
    source: str,
    texts: Iterable[pa.LargeStringArray],
    tokenizer: Tokenizer,
    encoded: Iterable[pa.LargeListArray] | None = None,
    controls: bool = False,
) -> SourceReport:
    """Report over a source's documents, a column of texts at a time.

    ``encoded``: the same documents' ids when they exist already, with or without EOS last; else
    they are encoded here. ``controls``: the texts hold control marks by name, as rendered
    conversations do.
    """
    used = np.zeros(tokenizer.vocab_size, np.int64)
    documents = size = failures = 0
    ready = None if encoded is None else iter(encoded)
    for column in texts:
        tokens = tokenizer.encode(column) if ready is None else next(ready)
        held = token_batch(tokens)
        used += np.bincount(held.values, minlength=tokenizer.vocab_size)
        documents += len(column)
        size += pc.sum(pc.binary_length(column)).as_py() or 0
        kept = pc.equal(tokenizer.decode(tokens, controls=controls), column)
        failures += len(column) - (pc.sum(kept).as_py() or 0)
    used[tokenizer.eos_id] = 0
    kinds = tokenizer.vocabulary.kinds
    count = int(used.sum())
    normal = kinds == NORMAL
    return SourceReport(
        source=source,
        documents=documents,
        bytes=size,
        tokens=count,
        bytes_per_token=size / count if count else 0.0,
        tokens_per_document=count / documents if documents else 0.0,
        unused_share=float((used[normal] == 0).mean()),
        byte_token_share=float(used[kinds == BYTE].sum()) / count if count else 0.0,
        round_trip_failures=failures,
    )
