"""The naive Bayes language model that the package py3langid ships, laid out for a fast kernel.

py3langid (BSD, a fork of Lui and Baldwin's langid.py, 2012) stores an LZMA-compressed ``.npz``: a
byte automaton whose states may emit a feature, and the log-probability of each feature in each
class. Only that file is read, without pickle; the package's own code is not imported.

Layout here, chosen for the cache (the automaton and the weights are walked at random):

- ``moves`` uint32[rows * 256]: what reading a byte in a row of the automaton leads to, the next row
  and the feature emitted there in one number, ``row * SPAN + feature + 1`` (no feature: ``row *
  SPAN``). So a step is one access to memory. ``start`` is the move that stands before the first
  byte.
- ``memory``: a move is decided by the last ``memory`` bytes (it is an Aho-Corasick automaton: the
  state is the longest suffix read that begins a feature, and ``memory`` is the depth of the deepest
  state). So a text can be walked from several places at once.
- ``weights`` int16[features, width]: log-probabilities in units of 2**-9, which is exact: the file
  holds float16 between -15 and -2.7, whose spacing is a multiple of 2**-9. Half the bytes of
  float32. Each row is shifted by a constant of its own to a mean near 0, which no decision and no
  probability can notice, and which keeps float32 sums small and so more exact. ``width`` is the
  number of classes rounded up to a multiple of 16.
- ``priors`` float32[classes]; ``folds`` int64[pairs, 2]: second classes of a label that has two
  (one per script) and the first one they are added to.
"""

from __future__ import annotations

import importlib.util
import io
import lzma
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash

from artifacts.errors import UserError

WEIGHT_UNIT = 2.0**-9
# 38,346 rows times this span just fit 32 bits; dividing by it is cheap
SPAN_SHIFT, SPAN_FACTOR = 13, 13
SPAN = SPAN_FACTOR << SPAN_SHIFT  # above the number of features, 100,053
_LANES = 16  # int16 in an AVX2 register
_ARRAYS = ("ptc", "pc", "classes", "nextmove", "nextmove_row", "out_feat")
_LARGEST_MODEL = 256 << 20  # bytes after decompression; the model of py3langid 0.4 has 68 MB


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """Arrays of the model (see the module), class labels and a fingerprint of all of it."""

    moves: npt.NDArray[np.uint32]
    start: np.uint32
    memory: int
    weights: npt.NDArray[np.int16]
    priors: npt.NDArray[np.float32]
    folds: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    fingerprint: str

    @property
    def labels(self) -> tuple[str, ...]:
        """Distinct labels (ISO 639), in class order; a label with two scripts appears once."""
        return tuple(dict.fromkeys(self.classes))

    @staticmethod
    def load() -> LanguageModel:
        """The model of the installed py3langid; loaded once per process (under a second, 110 MB).

        Raises: UserError when py3langid is not installed or its model has another layout.
        """
        return _load(_model_file())


def _model_file() -> Path:
    found = importlib.util.find_spec("py3langid")
    if found is None or found.origin is None:
        raise UserError(
            "the language model is missing",
            found="no package py3langid",
            fix="pip install 'py3langid>=0.4,<0.5'",
        )
    return Path(found.origin).parent / "data" / "model.npz.xz"


@cache
def _load(file: Path) -> LanguageModel:
    arrays = _read(file)
    digest = xxhash.xxh3_128()
    for name in _ARRAYS:
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape};".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    classes = tuple(str(label) for label in arrays["classes"])
    row_of = arrays["nextmove_row"].astype(np.uint32)
    packed = row_of * np.uint32(SPAN) + (arrays["out_feat"] + 1).astype(np.uint32)
    return LanguageModel(
        moves=packed[arrays["nextmove"]],
        start=packed[0],
        memory=_depth(arrays["nextmove"], row_of),
        weights=_fixed_point(arrays["ptc"], file),
        priors=np.ascontiguousarray(arrays["pc"], np.float32),
        folds=_folds(classes),
        classes=classes,
        fingerprint=digest.hexdigest(),
    )


def _read(file: Path) -> dict[str, npt.NDArray[np.generic]]:
    try:
        with lzma.open(file) as stream:
            raw = stream.read(_LARGEST_MODEL + 1)
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise UserError(
            f"the language model cannot be read: {error}", file=file, fix="reinstall py3langid"
        ) from error
    if len(raw) > _LARGEST_MODEL:
        raise _other_layout(file, f"over {_LARGEST_MODEL} bytes")
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as members:
            if set(_ARRAYS) - set(members.files):
                raise _other_layout(file, sorted(members.files))
            arrays = {name: members[name] for name in _ARRAYS}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _other_layout(file, error) from error
    rows, states = len(arrays["nextmove"]) // 256, len(arrays["out_feat"])
    sound = (
        len(arrays["nextmove_row"]) == states
        and rows * SPAN <= 1 << 32
        and arrays["nextmove"].max() < states
        and arrays["nextmove_row"].max() < rows
        and arrays["out_feat"].min() >= -1
        and arrays["out_feat"].max() < len(arrays["ptc"]) < SPAN
        and arrays["ptc"].shape[1] == len(arrays["pc"]) == len(arrays["classes"])
    )
    if not sound:
        raise _other_layout(file, {name: arrays[name].shape for name in _ARRAYS})
    return arrays


def _other_layout(file: Path, found: object) -> UserError:
    return UserError(
        "not a language model of a known layout",
        file=file,
        found=found,
        fix="pip install 'py3langid>=0.4,<0.5'",
    )


def _fixed_point(log_probabilities: npt.NDArray[np.generic], file: Path) -> npt.NDArray[np.int16]:
    """Weights in units of 2**-9; refuses a model that the unit does not hold exactly."""
    scaled = log_probabilities.astype(np.float32)
    scaled /= np.float32(WEIGHT_UNIT)
    features, classes = scaled.shape
    weights = np.zeros((features, -(-classes // _LANES) * _LANES), np.int16)
    weights[:, :classes] = scaled
    if not np.array_equal(weights[:, :classes], scaled):
        raise _other_layout(file, "weights that are not whole multiples of 2**-9 in 16 bits")
    weights[:, :classes] -= np.rint(scaled.mean(axis=1, keepdims=True)).astype(np.int16)
    return weights


def _depth(transitions: npt.NDArray[np.generic], row_of: npt.NDArray[np.uint32]) -> int:
    """Steps from the start to the state furthest from it (breadth first)."""
    rows = transitions.reshape(-1, 256)
    reached = np.zeros(len(row_of), np.bool_)
    reached[0] = True
    walked = np.zeros(len(rows), np.bool_)
    frontier = np.array([row_of[0]])
    depth = 0
    while len(frontier):
        walked[frontier] = True
        before = reached.copy()
        reached[rows[frontier].ravel()] = True
        new = reached & ~before
        depth += bool(new.any())
        candidates = np.zeros(len(rows), np.bool_)
        candidates[row_of[new]] = True
        frontier = np.flatnonzero(candidates & ~walked)
    return depth


def _folds(classes: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """(first, later) class of every label that has more than one."""
    pairs = [
        (classes.index(label), at) for at, label in enumerate(classes) if classes.index(label) != at
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)
