"""Every difference between our ids and those of the exported files, over texts that one gives.

    comparison = compare(tokenizer, batches)      # batches of texts
    print(comparison.sound, comparison.plain.different)

Texts that spell a control piece (``</s>``, ``<User>``) are counted apart: a stock tokenizer turns
that into the piece, where ours writes it as text, as a stock one does that splits special tokens
(``split_special_tokens=True`` in transformers). All other texts have the same ids and come back.

Needs the library ``tokenizers``, extra ``export``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from artifacts.errors import UserError
from artifacts.extras import require
from tokenizer.encode import Tokenizer
from tokenizer.huggingface.files import STOCK, huggingface_files
from tokenizer.vocabulary import CONTROL, UNKNOWN

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Stock

LONGEST = 1 << 18
"""Characters that are compared at once; a longer text is compared in parts of this length."""

_AROUND = 20  # characters of an excerpt before and after the place
_IDS = 8  # ids that are shown of each
_NOTHING = "(?!)"


@dataclass(frozen=True)
class Difference:
    """One text whose ids differ: which text (0 is the first), from which id and character on, what
    stands there, and ids from there on, ours and theirs.
    """

    text: int
    token: int
    character: int
    excerpt: str
    ours: tuple[int, ...]
    theirs: tuple[int, ...]


@dataclass
class Counts:
    """Texts and their ids: how many were ``different``, how many did not come back from
    ``tokenizers`` as they were (``not_restored``), and the first differences.
    """

    texts: int = 0
    bytes: int = 0
    tokens: int = 0
    different: int = 0
    not_restored: int = 0
    first: list[Difference] = field(default_factory=list)


@dataclass
class Comparison:
    """What was found. ``plain``: texts that spell no control piece. ``spelling``: those that do,
    encoded as a stock tokenizer does by default. ``split``: the same, special tokens split.
    ``pieces``: which control pieces were spelled, in how many texts.
    """

    plain: Counts = field(default_factory=Counts)
    spelling: Counts = field(default_factory=Counts)
    split: Counts = field(default_factory=Counts)
    pieces: dict[str, int] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether nothing differs but what a stock tokenizer makes of spelled control pieces."""
        return not any(
            counts.different or counts.not_restored for counts in (self.plain, self.split)
        )

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {"sound": self.sound, **asdict(self)}


def compare(
    tokenizer: Tokenizer,
    batches: Iterable[Sequence[str] | pa.Array],
    shown: int = 5,
    files: dict[str, bytes] | None = None,
) -> Comparison:
    """Encode texts with ours and with the exported files, and count what differs.

    ``batches``: texts, a bounded number at a time. ``shown``: differences that are kept of each
    kind. ``files``: those of :func:`~tokenizer.huggingface.files.huggingface_files`, where they are
    there. Raises: UserError where the extra is missing, the tokenizer cannot be exported, or
    its folder had no ``tokenizer.json``.
    """
    require("export")
    whole = _stock(tokenizer, files, split=False)
    split = _stock(tokenizer, files, split=True)
    controls = Controls(tokenizer)
    found = Comparison()
    seen = 0
    for batch in batches:
        texts = batch.to_pylist() if isinstance(batch, pa.Array) else list(batch)
        numbered = [
            (seen + number, part) for number, text in enumerate(texts) for part in _parts(text)
        ]
        seen += len(texts)
        spelled = [controls.spelled(text) for _, text in numbered]
        for name in (name for names in spelled for name in names):
            found.pieces[name] = found.pieces.get(name, 0) + 1
        for counts, stock, spelling in (
            (found.plain, whole, False),
            (found.spelling, whole, True),
            (found.split, split, True),
        ):
            chosen = [
                one for one, names in zip(numbered, spelled, strict=True) if bool(names) is spelling
            ]
            _count(counts, tokenizer, stock, chosen, shown)
    return found


def check_comparable(files: Mapping[str, bytes]) -> None:
    """Raises: UserError for files without a ``tokenizer.json``."""
    if STOCK not in files:
        raise UserError(
            "the tokenizer came without a tokenizer.json, so there is nothing to compare with",
            parameter="check",
            fix="leave the comparison out",
        )


class Controls:
    """Which texts spell a control piece of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        vocabulary = tokenizer.vocabulary
        tokens = np.flatnonzero(np.isin(vocabulary.kinds, (CONTROL, UNKNOWN)))
        names = sorted((vocabulary.surface(int(token)).decode() for token in tokens), key=len)
        self._names = re.compile("|".join(map(re.escape, reversed(names))) or _NOTHING)

    def spelled(self, text: str) -> set[str]:
        """Names of control pieces in a text."""
        return set(self._names.findall(text))


def _stock(tokenizer: Tokenizer, files: dict[str, bytes] | None, split: bool) -> Stock:
    from tokenizers import Tokenizer as Stock

    made = files if files is not None else huggingface_files(tokenizer)
    check_comparable(made)
    stock = Stock.from_buffer(made[STOCK])
    stock.encode_special_tokens = split
    return stock


def _parts(text: str) -> Iterator[str]:
    for start in range(0, max(len(text), 1), LONGEST):
        yield text[start : start + LONGEST]


def _count(
    counts: Counts,
    tokenizer: Tokenizer,
    stock: Stock,
    numbered: Sequence[tuple[int, str]],
    shown: int,
) -> None:
    texts = [text for _, text in numbered]
    ours = tokenizer.encode(pa.array(texts, pa.large_string())).to_pylist()
    theirs = [row.ids for row in stock.encode_batch(texts, add_special_tokens=False)]
    restored = stock.decode_batch(theirs, skip_special_tokens=False)
    counts.texts += len(texts)
    for (number, text), mine, other, back in zip(numbered, ours, theirs, restored, strict=True):
        counts.bytes += len(text.encode())
        counts.tokens += len(mine)
        counts.not_restored += back != text
        if mine != other:
            counts.different += 1
            if len(counts.first) < shown:
                counts.first.append(_difference(tokenizer, number, text, mine, other))


def _difference(
    tokenizer: Tokenizer, number: int, text: str, ours: list[int], theirs: list[int]
) -> Difference:
    equal = takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs, strict=False))
    token = sum(1 for _ in equal)
    before = np.diff(tokenizer.vocabulary.offsets)[ours[:token]].sum()
    place = len(text.encode()[: int(before)].decode(errors="ignore"))
    return Difference(
        number,
        token,
        place,
        text[max(0, place - _AROUND) : place + _AROUND],
        tuple(ours[token : token + _IDS]),
        tuple(theirs[token : token + _IDS]),
    )
