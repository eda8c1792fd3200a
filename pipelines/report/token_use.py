"""How a run's tokenizer is used by its encoded documents: pieces, unused pieces, tokens per
source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.paths import Store
from artifacts.schemas import check_format
from artifacts.tables import damaged_table, open_batches
from pipelines.report.calls import encoded_files
from pipelines.shards.tokenizer import recorded_model
from tokenizer.encode import Tokenizer
from tokenizer.shards.reader import token_batch
from tokenizer.vocabulary import BYTE, NORMAL

COUNTED = 1 << 30  # tokens looked at, so that a report of a large corpus takes minutes at most
EXAMPLES = 60
_STEP = 1 << 22  # tokens counted at once


@dataclass(frozen=True)
class TokenUse:
    """Use of the normal pieces over the tokens counted. ``documents``: encoded documents by source,
    all of them.
    """

    counted: int
    complete: bool
    normal: int
    unused: int
    examples: tuple[str, ...]  # unused pieces, the last learnt first
    byte_tokens: int
    documents: dict[str, int]


def token_use(store: Store, record: dict[str, Any]) -> TokenUse:
    """Count pieces over the encoded chunks, in order, up to :data:`COUNTED` tokens."""
    vocabulary = Tokenizer.load(recorded_model(store, record)).vocabulary
    used = np.zeros(vocabulary.size, np.int64)
    documents: dict[str, int] = {}
    counted, complete = 0, True
    for source, encoded in encoded_files(record):
        documents[source] = documents.get(source, 0) + encoded.rows
        if counted >= COUNTED:
            complete = False
            continue
        for tokens in _tokens(store, encoded.name):
            if len(tokens) and int(tokens.max()) >= vocabulary.size:
                raise damaged_table(store, encoded.name, f"token {tokens.max()}")
            used += np.bincount(tokens, minlength=vocabulary.size)
            counted += len(tokens)
    unused = np.flatnonzero((vocabulary.kinds == NORMAL) & (used == 0))
    examples = tuple(
        vocabulary.surface(int(token)).decode("utf-8", "backslashreplace")
        for token in unused[::-1][:EXAMPLES]
    )
    return TokenUse(
        counted,
        complete,
        int((vocabulary.kinds == NORMAL).sum()),
        len(unused),
        examples,
        int(used[vocabulary.kinds == BYTE].sum()),
        documents,
    )


def _tokens(store: Store, name: str) -> Iterator[NDArray[np.generic]]:
    with open_batches(store, name) as encoded:
        check_format(encoded.schema, "encoded", store.full(name))
        for number in range(encoded.count):
            values = token_batch(encoded.batch(number)["tokens"]).values
            for start in range(0, len(values), _STEP):
                yield values[start : start + _STEP]
