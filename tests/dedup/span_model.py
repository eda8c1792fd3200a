"""Repeated spans written down once more in plain Python: dictionaries of byte strings, and a suffix
array.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from os.path import commonprefix

from dedup.spans.spans import Spans
from tests.dedup.dedup_model import UNSPACED, fold

Places = list[list[tuple[int, int]]]
Cut = set[tuple[int, int]]


def placed_words(text: str) -> list[tuple[int, int]]:
    """First byte of each word and the byte behind it, marks that take no room included."""
    words: list[tuple[int, int]] = []
    place, going, alone = 0, False, False
    for character in text:
        size = len(character.encode())
        category = unicodedata.category(character)
        folded = fold(character) if category[0] in "LN" or category == "Mc" else " "
        if category in ("Mn", "Me", "Cf") or not folded:
            if going:
                words[-1] = (words[-1][0], place + size)
        elif folded == " ":
            going = False
        else:
            unit = unicodedata.name(folded, "").startswith(UNSPACED)
            if going and not unit and not alone:
                words[-1] = (words[-1][0], place + size)
            else:
                words.append((place, place + size))
            going, alone = True, unit
        place += size
    return words


def cut_words(texts: Sequence[str], priority: Sequence[int], length: int) -> Cut:
    """(row, word) of every word in a window of ``length`` words that stood before, by a dictionary
    of all windows.
    """
    raw, places = [text.encode() for text in texts], [placed_words(text) for text in texts]
    first: dict[bytes, tuple[int, int]] = {}
    cut: Cut = set()
    for row in sorted(range(len(texts)), key=priority.__getitem__):
        for word in range(len(places[row]) - length + 1):
            window = raw[row][places[row][word][0] : places[row][word + length - 1][1]]
            origin = first.setdefault(window, (row, word))
            if origin[0] != row or origin[1] + length <= word:
                cut |= {(row, word + k) for k in range(length)}
    return cut


def cut_words_by_suffixes(texts: Sequence[str], priority: Sequence[int], length: int) -> Cut:
    """The same by a suffix array of all places where a word begins: equal windows stand next to
    each other.
    """
    raw, places = [text.encode() for text in texts], [placed_words(text) for text in texts]
    suffixes = sorted(
        (raw[row][start:], priority[row], word, row)
        for row in range(len(texts))
        for word, (start, _) in enumerate(places[row])
    )
    cut: Cut = set()
    for index, (suffix, rank, word, row) in enumerate(suffixes):
        if word + length > len(places[row]):
            continue
        size = places[row][word + length - 1][1] - places[row][word][0]
        same = [(rank, word, row)]
        for step in (-1, 1):
            other = index + step
            while (
                0 <= other < len(suffixes)
                and len(commonprefix([suffix, suffixes[other][0]])) >= size
            ):
                _, other_rank, other_word, other_row = suffixes[other]
                if other_word + length <= len(places[other_row]):
                    start, end = (
                        places[other_row][other_word][0],
                        places[other_row][other_word + length - 1][1],
                    )
                    same += [(other_rank, other_word, other_row)] if end - start == size else []
                other += step
        _, first_word, first_row = min(same)
        if first_row != row or first_word + length <= word:
            cut |= {(row, word + k) for k in range(length)}
    return cut


def words_inside(spans: Spans, texts: Sequence[str]) -> Cut:
    """(row, word) of every word that a span covers; a word is covered whole or not at all."""
    found: Cut = set()
    places = [placed_words(text) for text in texts]
    for row, start, end in zip(
        spans.row.tolist(), spans.start.tolist(), spans.end.tolist(), strict=True
    ):
        for word, (first, behind) in enumerate(places[row]):
            if first < end and behind > start:
                assert start <= first
                assert behind <= end
                found.add((row, word))
    return found


def pieces(text: str, unit: str) -> list[tuple[int, int]]:
    """Byte ranges of the lines, or of the paragraphs between lines of white space, without white
    space at their ends.
    """
    found: list[tuple[int, int]] = []
    place, inside = 0, False
    for line in text.encode().split(b"\n"):
        size = len(line.rstrip(b" \t\r\v\f"))
        if not size:
            inside = False
        elif unit == "paragraph" and inside:
            found[-1] = (found[-1][0], place + size)
        else:
            found.append((place, place + size))
            inside = True
        place += len(line) + 1
    return found


def cut_pieces(
    texts: Sequence[str], priority: Sequence[int], unit: str, least: int, times: int
) -> set[tuple[int, int, int]]:
    """(row, first byte, byte behind) of every line or paragraph that stood ``times`` times
    before.
    """
    seen: dict[bytes, int] = {}
    cut = set()
    for row in sorted(range(len(texts)), key=priority.__getitem__):
        raw = texts[row].encode()
        for start, end in pieces(texts[row], unit):
            if len(placed_words(raw[start:end].decode())) >= least:
                seen[raw[start:end]] = seen.get(raw[start:end], 0) + 1
                if seen[raw[start:end]] > times:
                    cut.add((row, start, end))
    return cut
