"""The dedup floor written down once more in plain Python: slow, and short enough to be believed."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence

import pyarrow as pa

MASK = (1 << 64) - 1
MIX = 0xD6E8FEB86659FD93
UNSPACED = (
    "CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "CJK RADICAL", "KANGXI RADICAL",
    "HANGZHOU NUMERAL", "IDEOGRAPHIC NUMBER ZERO", "IDEOGRAPHIC ITERATION", "IDEOGRAPHIC CLOSING",
    "VERTICAL IDEOGRAPHIC ITERATION", "VERTICAL KANA", "MASU MARK", "HIRAGANA", "HENTAIGANA",
    "KATAKANA", "BOPOMOFO", "HANGUL", "THAI", "LAO", "MYANMAR", "KHMER",
)  # fmt: skip


def column(texts: Sequence[str]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def fold(character: str) -> str:
    """What a letter or digit counts as; empty if it is only a mark in another guise."""
    if ord(character) >= 0x20000:
        return character
    decomposed = unicodedata.normalize("NFKD", character.casefold()).casefold()
    bases = "".join(
        c
        for c in decomposed
        if unicodedata.category(c)[0] in "LN" or unicodedata.category(c) == "Mc"
    )
    return bases if len(bases) <= 1 else character.lower()[0]


def words_of(text: str) -> list[str]:
    words, word = [], ""
    for character in text + "\n":
        category = unicodedata.category(character)
        if category in ("Mn", "Me", "Cf"):
            continue
        folded = fold(character) if category[0] in "LN" or category == "Mc" else " "
        if not folded:
            continue
        if folded == " " or unicodedata.name(folded, "").startswith(UNSPACED):
            words += [w for w in (word, folded.strip()) if w]
            word = ""
        else:
            word += folded
    return words


def mixed(value: int, shift: int) -> int:
    value = ((value ^ (value >> 32)) * MIX) & MASK
    return value ^ (value >> shift)


def word_hash(word: str) -> int:
    state = 0xCBF29CE484222325
    unit = unicodedata.name(word, "").startswith(UNSPACED) if len(word) == 1 else False
    for character in word:
        state = ((state ^ (ord(character) | (unit << 31))) * 0x100000001B3) & MASK
    return mixed(state, 29)


def splitmix64(seed: int, length: int) -> list[int]:
    outputs = []
    for k in range(1, length + 1):
        z = (seed + k * 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        outputs.append(z ^ (z >> 31))
    return outputs


def shingles_of(text: str, ngrams: int) -> list[int]:
    constants = [c | 1 for c in splitmix64(0x5348494E474C4553, ngrams)]
    hashes = [word_hash(word) for word in words_of(text)]
    runs = [hashes[k : k + ngrams] for k in range(len(hashes) - ngrams + 1)]
    return [
        mixed(sum(w * c for w, c in zip(run, constants, strict=True)) & MASK, 32) for run in runs
    ]


def signature_of(text: str, ngrams: int, functions: int, seed: int) -> list[int]:
    drawn = [value >> 32 for value in splitmix64(seed, 2 * functions)]
    xs = [shingle >> 32 for shingle in shingles_of(text, ngrams)]
    pairs = zip(drawn[:functions], drawn[functions:], strict=True)
    return [min(((a | 1) * x + b) % 2**32 for x in xs) if xs else 2**32 - 1 for a, b in pairs]


def jaccard_of(one: frozenset[int], other: frozenset[int]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


def containment_of(one: frozenset[int], other: frozenset[int]) -> float:
    return len(one & other) / len(one) if one else 0.0


def components(groups: Sequence[Sequence[int]], documents: int) -> list[set[int]]:
    """The cluster of each document."""
    clusters = [{d} for d in range(documents)]
    for group in groups:
        union = set().union(*(clusters[d] for d in group))
        for document in union:
            clusters[document] = union
    return clusters


def greedy_of(
    priority: Sequence[int],
    groups: Sequence[Sequence[int]],
    sets: Sequence[frozenset[int]],
    threshold: float,
    limit: int,
    measure: Callable[[frozenset[int], frozenset[int]], float] = jaccard_of,
) -> tuple[dict[int, tuple[int, float, int]], int]:
    """Removed document -> (kept document, similarity, bands); and how many pairs were compared."""
    kept_of: dict[int, list[int]] = defaultdict(list)
    removed, compared = {}, 0
    for document in sorted(range(len(priority)), key=priority.__getitem__):
        mine = [g for g, members in enumerate(groups) if document in members]
        shared: dict[int, int] = defaultdict(int)
        for g in mine:
            for kept in kept_of[g][:limit]:
                shared[kept] += 1
        looked_at = sorted(shared, key=lambda d: (-shared[d], priority[d]))[:limit]
        compared += len(looked_at)
        matches = [(-measure(sets[document], sets[d]), priority[d], d) for d in looked_at]
        matches = [match for match in matches if -match[0] >= threshold]
        if matches:
            similarity, _, kept = min(matches)
            removed[document] = (kept, -similarity, shared[kept])
        else:
            for g in mine:
                kept_of[g].append(document)
    return removed, compared
