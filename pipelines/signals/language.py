"""Language identification: py3langid's model and its answers, at the speed of a kernel.

``detect`` walks the byte automaton over the first ``max_bytes`` of each document, counts the
features it emits, and scores the classes: ``log1p(counts) @ weights + priors``, softmax at
temperature ``sqrt(bytes)`` (which keeps confidences comparable between lengths), second scripts of
a label added to the first. Labels and confidences are those of
``LanguageIdentifier(norm_probs=True)`` of py3langid on the same characters, up to rounding.

py3langid first lower-cases a text that is all upper case and applies NFC. A scan marks the few
texts where either may matter: no lower-case letter but an upper-case one, or a character whose NFC
quick check (Unicode annex 15) is not "yes", or two combining marks in a row. Only those become
Python strings.

The limit is the cache, not arithmetic: per byte one step in an automaton of 39 MB and one count in
a table of 0.4 MB, per distinct feature (one for every two to four bytes) a row of 288 bytes out of
29 MB.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from artifacts.jit import kernel
from pipelines.signals.characters import (
    COMBINING,
    COMPOSES,
    NOT_UPPER,
    UPPER,
    Array,
    character_table,
    decode,
)
from pipelines.signals.language_model import (
    SPAN,
    SPAN_FACTOR,
    SPAN_SHIFT,
    WEIGHT_UNIT,
    LanguageModel,
)
from pipelines.signals.text_buffers import Texts, text_buffers

__all__ = ["UNDETERMINED", "LanguageModel", "detect"]

UNDETERMINED = "und"
BATCH_BYTES = 1 << 17
_NOTHING: Mapping[str, str] = MappingProxyType({})
# exp(-20) is 2e-9: a class this far below the best needs no exponential
NEGLIGIBLE = np.float32(20.0)


def detect(
    texts: Texts,
    model: LanguageModel,
    max_bytes: int = 2000,
    folded: Mapping[str, str] = _NOTHING,
) -> tuple[pa.StringArray, pa.FloatArray]:
    """Language (ISO 639 label of the model) and confidence in 0..1 of every text.

    ``folded``: labels that are given as another label of the model; the confidence in that one is
    then the sum over all that are given as it.

    Only the first ``max_bytes`` bytes are looked at, cut back to a whole character. A text in which
    the model finds no feature (empty, blank, unknown script) is ``("und", 0.0)``.

    Raises: ValueError for ``max_bytes`` below 1.
    """
    if max_bytes < 1:
        raise ValueError(f"max_bytes is at least 1, found {max_bytes}")
    values, offsets = text_buffers(texts)
    table = character_table()
    starts = offsets[:-1].copy()
    ends = np.empty_like(starts)
    marked = np.zeros(len(starts), np.uint8)
    scan_texts(values, offsets, max_bytes, table.pages, table.flags, _quiet_leads(), ends, marked)
    classes = np.empty(len(starts), np.int64)
    scores = np.empty(len(starts), np.float32)
    given = [folded.get(label, label) for label in model.classes]
    groups = np.array([given.index(label) for label in given], np.int64)
    _score(values, starts, np.where(marked, starts, ends), model, groups, classes, scores)
    rows = np.flatnonzero(marked)
    if len(rows):
        rewritten, bounds = _normalised(values, starts[rows], ends[rows])
        few_classes, few_scores = np.empty(len(rows), np.int64), np.empty(len(rows), np.float32)
        _score(
            rewritten,
            bounds[:-1].copy(),
            bounds[1:].copy(),
            model,
            groups,
            few_classes,
            few_scores,
        )
        classes[rows], scores[rows] = few_classes, few_scores
    labels = pa.array([*given, UNDETERMINED], pa.string())
    return labels.take(pa.array(classes)), pa.array(scores, pa.float32())


@cache
def _quiet_leads() -> npt.NDArray[np.bool_]:
    """bool[256]: lead bytes of three-byte characters none of which the scan looks for, most of Han
    and Hangul.
    """
    table = character_table()
    codes = np.arange(0x10000)
    sought = table.flags[table.pages[codes >> 8].astype(np.int64) << 8 | codes & 255] & (
        COMBINING | COMPOSES | NOT_UPPER | UPPER
    )
    quiet = np.zeros(256, np.bool_)
    quiet[0xE1:0xF0] = ~sought.reshape(16, 4096).any(axis=1)[1:]  # 0xE0 also starts overlong forms
    return quiet


def _normalised(
    values: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The marked texts as py3langid rewrites them: all-upper ones in lower case, then NFC."""
    pieces = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        piece = values[start:end].tobytes()
        try:
            text = piece.decode()
        except UnicodeDecodeError:  # malformed UTF-8 is scored as the bytes it is
            pieces.append(piece)
            continue
        text = text.lower() if text.isupper() else text
        pieces.append(unicodedata.normalize("NFC", text).encode())
    bounds = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum([len(piece) for piece in pieces], out=bounds[1:])
    return np.frombuffer(b"".join(pieces), np.uint8), bounds


def _score(
    values: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    model: LanguageModel,
    groups: npt.NDArray[np.int64],
    classes: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float32],
) -> None:
    longest = int((ends - starts).max(initial=0))
    log_counts = np.log1p(np.arange(longest + 1, dtype=np.float32)) * np.float32(WEIGHT_UNIT)
    score_languages(
        values,
        starts,
        ends,
        model.moves,
        model.start,
        model.memory,
        model.weights,
        model.priors,
        model.folds,
        groups,
        log_counts,
        classes,
        scores,
    )


@kernel
def scan_texts(
    values: Array,
    offsets: Array,
    max_bytes: Any,
    pages: Array,
    flags: Array,
    quiet: Array,
    ends: Array,
    marked: Array,
) -> None:
    """Where each text is cut (``ends``), and whether normalisation may change it (``marked``)."""
    for document in range(len(offsets) - 1):
        start, end = offsets[document], offsets[document + 1]
        if end - start > max_bytes:
            end = start + max_bytes
            while end > start and values[end] & 0xC0 == 0x80:
                end -= 1
        ends[document] = end
        seen: Any = 0
        previous: Any = 0
        at = start
        while at < end:
            if values[at] < 0x80:
                seen |= np.int64(flags[values[at]])
                previous = 0
                at += 1
                continue
            if quiet[values[at]]:
                previous = 0
                at += 3
                continue
            code, width = decode(values, at, end)
            flag = np.int64(flags[np.int64(pages[code >> 8]) << 8 | (code & 0xFF)])
            seen |= flag
            if flag & COMPOSES or flag & previous & COMBINING:
                marked[document] = 1
                break
            previous = flag
            at += width
        if seen & UPPER and not seen & NOT_UPPER:
            marked[document] = 1


@kernel
def _row(move: Any) -> Any:
    return np.int64((move >> np.uint32(SPAN_SHIFT)) // np.uint32(SPAN_FACTOR))


@kernel
def _step(move: Any, byte: Any, moves: Array) -> Any:
    return moves[_row(move) << 8 | np.int64(byte)]


@kernel
def _walk(
    values: Array, start: Any, end: Any, moves: Array, before: Any, memory: Any, walked: Array
) -> None:
    """``walked[i]`` = the automaton's move at byte ``start + i``; ``before`` stands before the
    first.

    One walk waits for the cache at every byte. So four quarters of the text are walked at once,
    each from ``memory`` bytes before its beginning, after which it is where the single walk is.
    """
    quarter = (end - start) >> 2
    second, third, fourth = start + quarter, start + 2 * quarter, start + 3 * quarter
    a = b = c = d = before
    for at in range(max(start, second - memory), second):
        b = _step(b, values[at], moves)
    for at in range(max(start, third - memory), third):
        c = _step(c, values[at], moves)
    for at in range(max(start, fourth - memory), fourth):
        d = _step(d, values[at], moves)
    for at in range(quarter):
        a = _step(a, values[start + at], moves)
        b = _step(b, values[second + at], moves)
        c = _step(c, values[third + at], moves)
        d = _step(d, values[fourth + at], moves)
        walked[at], walked[quarter + at], walked[2 * quarter + at], walked[3 * quarter + at] = (
            a,
            b,
            c,
            d,
        )
    for at in range(4 * quarter, end - start):
        d = _step(d, values[start + at], moves)
        walked[at] = d


@kernel
def _count_features(
    walked: Array, log_counts: Array, counts: Array, features: Array, logs: Array
) -> int:
    """Distinct features of one text and the log of their counts; how many. Leaves ``counts``
    zero.
    """
    distinct = 0
    for move in walked:
        feature = np.int64(move) - _row(move) * SPAN - 1
        if feature >= 0:
            count = counts[feature]
            counts[feature] = count + 1
            features[distinct] = feature
            distinct += count == 0
    for at in range(distinct):
        logs[at] = log_counts[counts[features[at]]]
        counts[features[at]] = 0
    return distinct


@kernel
def _sum_weights(features: Array, logs: Array, weights: Array, sums: Array) -> None:
    """``sums[column]`` = sum of log-count times weight over the features.

    Four rows at a time: the sums are loaded and stored a quarter as often, and cache misses
    overlap.
    """
    sums[:] = 0
    whole = len(features) & ~3
    for at in range(0, whole, 4):
        log_a, log_b, log_c, log_d = logs[at], logs[at + 1], logs[at + 2], logs[at + 3]
        row_a, row_b = weights[features[at]], weights[features[at + 1]]
        row_c, row_d = weights[features[at + 2]], weights[features[at + 3]]
        for column in range(len(sums)):
            left = log_a * np.float32(row_a[column]) + log_b * np.float32(row_b[column])
            sums[column] += left + (
                log_c * np.float32(row_c[column]) + log_d * np.float32(row_d[column])
            )
    for at in range(whole, len(features)):
        for column in range(len(sums)):
            sums[column] += logs[at] * np.float32(weights[features[at], column])


@kernel
def _decide(
    sums: Array, length: Any, priors: Array, folds: Array, groups: Array
) -> tuple[Any, Any]:
    """Best class and the probability of its group; ``sums`` is overwritten."""
    temperature = np.float32(1.0 / np.sqrt(float(length)))
    top = np.float32(-np.inf)
    for column in range(len(priors)):
        sums[column] = (sums[column] + priors[column]) * temperature
        top = max(top, sums[column])
    total = np.float32(0.0)
    for column in range(len(priors)):
        below = top - sums[column]
        sums[column] = np.exp(-below) if below < NEGLIGIBLE else np.float32(0.0)
        total += sums[column]
    for pair in range(len(folds)):
        sums[folds[pair, 0]] += sums[folds[pair, 1]]
        sums[folds[pair, 1]] = 0.0
    best = 0
    for column in range(1, len(priors)):
        if sums[column] > sums[best]:
            best = column
    together = np.float32(0.0)
    for column in range(len(priors)):
        if groups[column] == groups[best]:
            together += sums[column]
    return best, together / total


@kernel
def score_languages(
    values: Array,
    starts: Array,
    ends: Array,
    moves: Array,
    before: Any,
    memory: Any,
    weights: Array,
    priors: Array,
    folds: Array,
    groups: Array,
    log_counts: Array,
    classes: Array,
    scores: Array,
) -> None:
    """Best class (``len(priors)`` for "no features") and its confidence for every text.

    ``log_counts[c]`` is log1p(c) times the weight unit, up to the length of the longest text.
    ``groups[c]`` is the class that class ``c`` is counted as.
    Walking, counting and summing are done a batch of texts at a time, because each wants the cache
    to itself.
    """
    room = max(len(log_counts), BATCH_BYTES)
    walked = np.empty(room, np.uint32)
    features = np.empty(room, np.int32)
    logs = np.empty(room, np.float32)
    counts = np.zeros(len(weights), np.int32)
    distinct = np.empty(len(starts), np.int64)
    sums = np.empty(weights.shape[1], np.float32)
    first = 0
    while first < len(starts):
        last, used = first, 0
        while last < len(starts) and used + ends[last] - starts[last] <= room:
            _walk(values, starts[last], ends[last], moves, before, memory, walked[used:])
            used += ends[last] - starts[last]
            last += 1
        used = filled = 0
        for document in range(first, last):
            text = walked[used : used + ends[document] - starts[document]]
            distinct[document] = _count_features(
                text, log_counts, counts, features[filled:], logs[filled:]
            )
            used += len(text)
            filled += distinct[document]
        filled = 0
        for document in range(first, last):
            own = slice(filled, filled + distinct[document])
            filled += distinct[document]
            classes[document], scores[document] = len(priors), 0.0
            if distinct[document] > 0:
                _sum_weights(features[own], logs[own], weights, sums)
                classes[document], scores[document] = _decide(
                    sums, ends[document] - starts[document], priors, folds, groups
                )
        first = last
