"""The settings by which near-duplicates are found and decided on: their defaults, limits and
descriptions, once for every front door.

A front door is where a user gives them: a stage of a recipe, files on their own, an index, steps of
datatrove, the functions of this package. :class:`NearSettings` says what each setting is and what
the functions can take; :data:`DOORS` says where a front door takes less, or begins with another
default. Everything else is the same at all of them.

>>> NearSettings().bands, limits("bands"), limits("bands", RECIPE)
(14, Limits(low=1, high=4096, above=False), Limits(low=1, high=256, above=False))
>>> check("bands", 300)
>>> check("bands", 300, RECIPE)
Traceback (most recent call last):
    ...
artifacts.errors.UserError: bands is out of range
  field:   bands
  found:   300
  fix:     give a whole number from 1 to 256
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple

from artifacts.errors import UserError

Similarity = Literal["jaccard", "containment"]
MAX_FUNCTIONS = 4096
INPUT_ORDER = "order of input"


class Limits(NamedTuple):
    """Least and greatest value, None for no greatest; ``above``: the least itself is too small."""

    low: int
    high: int | None
    above: bool = False

    def __str__(self) -> str:
        if self.high is None:
            return f"from {self.low} on"
        most = _spelled(self.high)
        return f"above {self.low}, up to {most}" if self.above else f"{self.low} to {most}"

    def hold(self, value: Any) -> bool:
        """Whether a value lies within them."""
        return (
            math.isfinite(value)
            and (value > self.low if self.above else value >= self.low)
            and (self.high is None or value <= self.high)
        )


def _spelled(number: int) -> str:
    """A large power of two, or one less, by its exponent."""
    for power, rest in ((number, ""), (number + 1, " - 1")):
        if number > 1 << 16 and power & (power - 1) == 0:
            return f"2^{power.bit_length() - 1}{rest}"
    return str(number)


def _is(description: str, limits: Limits | None = None) -> dict[str, Any]:
    return {"description": description, "limits": limits}


@dataclass(frozen=True)
class NearSettings:
    """What makes a near-duplicate, which copy stays, and how much that may take and remove."""

    ngrams: int = field(
        default=5,
        metadata=_is("words per shingle (characters in Han, Kana, Hangul, Thai)", Limits(1, 256)),
    )
    bands: int = field(default=14, metadata=_is("bands of the signature", Limits(1, MAX_FUNCTIONS)))
    rows: int = field(default=8, metadata=_is("hash functions per band", Limits(1, MAX_FUNCTIONS)))
    seed: int = field(default=1, metadata=_is("of the hash functions", Limits(0, 2**64 - 1)))
    verify: float = field(
        default=0.7,
        metadata=_is("similarity from which a document counts as a copy", Limits(0, 1, above=True)),
    )
    similarity: Similarity = field(
        default="jaccard",
        metadata=_is(
            "of the sets of shingles; containment: the share of a document's that the kept one has "
            "too"
        ),
    )
    keep: str = field(
        default="characters desc, source_rank, id",
        metadata=_is("which copy stays: columns in order of importance"),
    )
    max_comparisons: int = field(
        default=256,
        metadata=_is(
            "at most this many exact comparisons per document; reported when it binds",
            Limits(1, None),
        ),
    )
    quality_sample: int = field(
        default=0,
        metadata=_is(
            "documents to measure recall and precision on, exactly; 0: only what the S-curve "
            "expects",
            Limits(0, 1 << 24),
        ),
    )
    max_removed_share: float = field(
        default=0.9,
        metadata=_is(
            "share of a source's documents; a comparison that removes more of a source stops the "
            "run",
            Limits(0, 1, above=True),
        ),
    )


class Door(NamedTuple):
    """A front door: the settings it takes, with limits and defaults of its own where it has any."""

    name: str
    takes: tuple[str, ...]
    limits: Mapping[str, Limits] = {}
    defaults: Mapping[str, str] = {}


_SIGNATURE = ("ngrams", "bands", "rows", "seed")
_OF_A_STAGE = {
    "ngrams": Limits(1, 64),
    "bands": Limits(1, 256),
    "rows": Limits(1, 64),
    "seed": Limits(0, None),  # beyond 2^64 - 1 MinHash itself refuses it
    "max_comparisons": Limits(1, 1 << 31),
}

RECIPE = Door(
    "minhash_dedup in a recipe", tuple(each.name for each in fields(NearSettings)), _OF_A_STAGE
)
FILES = Door(
    "windtunnel dedup run, dedup_files()",
    ("ngrams", "bands", "rows", "verify", "keep", "quality_sample", "max_removed_share"),
    _OF_A_STAGE,
)
INDEX = Door(
    "windtunnel dedup index add, add_batch()",
    (*_SIGNATURE, "verify", "keep", "max_comparisons"),
    defaults={"keep": INPUT_ORDER},
)
DATATROVE = Door("MinHashSignatures, MinHashDecision", (*_SIGNATURE, "verify", "max_comparisons"))
CURVE = Door("windtunnel dedup curve", ("bands", "rows", "verify"), limits={"verify": Limits(0, 1)})
FUNCTIONS = Door(
    "MinHashConfig, greedy_keep()", (*_SIGNATURE, "verify", "similarity", "max_comparisons")
)

DOORS: tuple[Door, ...] = (RECIPE, FILES, INDEX, DATATROVE, CURVE, FUNCTIONS)
"""The one table of what differs between front doors; docs/recipes.md shows it."""

DEFAULTS = NearSettings()


def description(name: str) -> str:
    """What a setting is, in a few words."""
    return str(_metadata(name)["description"])


def limits(name: str, door: Door = FUNCTIONS) -> Limits | None:
    """Between which numbers a setting may lie at a front door, None for one that is no number."""
    own: Limits | None = _metadata(name)["limits"]
    return door.limits.get(name, own)


def default(name: str, door: Door = FUNCTIONS) -> Any:
    """What a setting is at a front door where the user does not give it."""
    return door.defaults.get(name, getattr(DEFAULTS, name))


def check(name: str, value: object, door: Door = FUNCTIONS) -> None:
    """Hold a number against its limits. Raises: UserError naming it."""
    bounds = limits(name, door)
    assert bounds is not None, f"{name} is no number"
    kind = Integral if _whole(name) else Real
    if not isinstance(value, kind) or isinstance(value, bool) or not bounds.hold(value):
        raise UserError(
            f"{name} is out of range", parameter=name, found=value, fix=allowed(name, door)
        )


def allowed(name: str, door: Door = FUNCTIONS) -> str:
    """What to give for a number, in a sentence."""
    bounds = limits(name, door)
    between = f"from {bounds}" if bounds and bounds.high and not bounds.above else bounds
    return f"give a {'whole ' if _whole(name) else ''}number {between}"


def _whole(name: str) -> bool:
    return isinstance(getattr(DEFAULTS, name), int)


def _metadata(name: str) -> Mapping[str, Any]:
    return next(each.metadata for each in fields(NearSettings) if each.name == name)
