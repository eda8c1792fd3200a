"""Mixtures of MiniCPM (arXiv 2404.06395, section 6.3 and figure 11) as presets, mapped onto one's
own sources.

    preset_weights("minicpm-stable", {"c4": "web-en", "dolma": "web-en", "code": "code"})
    # weights {"web-en": 0.609375, "code": 0.390625};
    # left out: commoncrawl-chinese 25 %, pile 8 %, ...

Several entries may stand for one source: their shares add. Entries that are not mapped are left out
and the rest is scaled to sum to 1; what was left out is returned.

**What is printed and what is not.** Shares are percentages of tokens, as printed in figure 11.

``minicpm-stable``: seven of eight slices are printed (99.0 together). ``pes2o`` has no printed
label; its 1.0 is the remainder to 100.

``minicpm-decay``: thirteen slices have a printed share (93.5 together; which name goes with which
slice follows the descending order and a third party's reading). Two more labels, 1.3 and 1.1, are
printed for two of ``other``, ``stackexchange-qa`` and ``math-sft``: which two is not determinable.
The slices ``evol-instruct``, ``oss-instruct``, ``slim-orca``, ``logic-sft``, ``sharegpt4``,
``law``, ``open-web-math``, ``arxiv`` and ``pes2o`` have no label. So no share of these twelve is
published, and mapping one of them is an error. Together they are the remainder to 100, the entry
``unlabelled`` (6.5 = 1.3 + 1.1 + 4.1), which can be mapped like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum
from typing import Literal

from artifacts.errors import Address, UserError, address_of

PresetName = Literal["minicpm-stable", "minicpm-decay"]
Basis = Literal["printed", "remainder", "not published"]


@dataclass(frozen=True)
class Entry:
    """A data set of the paper: its share in percent of tokens (None: not published), and where the
    number is from.
    """

    percent: float | None
    basis: Basis = "printed"


@dataclass(frozen=True)
class LeftOut:
    """An entry no source stands for; ``percent`` as in :class:`Entry`."""

    entry: str
    percent: float | None


@dataclass(frozen=True)
class PresetShares:
    """``weights``: by user source, sum to 1. ``left_out``: entries that are not mapped;
    ``mapped_percent``: what is, of 100.
    """

    weights: dict[str, float]
    left_out: tuple[LeftOut, ...]
    mapped_percent: float


_UNKNOWN = Entry(None, "not published")

PRESETS: dict[str, dict[str, Entry]] = {
    "minicpm-stable": {
        "code": Entry(25.0),
        "commoncrawl-chinese": Entry(25.0),
        "dolma": Entry(24.0),
        "c4": Entry(15.0),
        "pile": Entry(8.0),
        "open-web-math": Entry(1.0),
        "arxiv": Entry(1.0),
        "pes2o": Entry(1.0, "remainder"),
    },
    "minicpm-decay": {
        "code": Entry(19.6),
        "dolma": Entry(15.7),
        "commoncrawl-chinese": Entry(14.6),
        "c4": Entry(9.5),
        "wikipedia": Entry(6.7),
        "pile": Entry(5.1),
        "sft-mixed": Entry(4.8),
        "baidu-baike": Entry(4.5),
        "code-sft": Entry(3.8),
        "books-chinese": Entry(2.8),
        "knowledge-sft": Entry(2.5),
        "ultrachat": Entry(2.0),
        "math-synthetic": Entry(1.9),
        "unlabelled": Entry(6.5, "remainder"),
        "other": _UNKNOWN,
        "stackexchange-qa": _UNKNOWN,
        "math-sft": _UNKNOWN,
        "evol-instruct": _UNKNOWN,
        "oss-instruct": _UNKNOWN,
        "slim-orca": _UNKNOWN,
        "logic-sft": _UNKNOWN,
        "sharegpt4": _UNKNOWN,
        "law": _UNKNOWN,
        "open-web-math": _UNKNOWN,
        "arxiv": _UNKNOWN,
        "pes2o": _UNKNOWN,
    },
}


def check_entries(name: PresetName, sources: Mapping[str, str], field: str | Address) -> None:
    """Raises: UserError for an entry the preset does not have, or whose share is not published."""
    entries = PRESETS[name]
    published = [entry for entry, facts in entries.items() if facts.percent is not None]
    for entry in sources:
        if entry not in entries:
            raise UserError(
                f"no such entry in the preset {name}",
                field=(*address_of(field), entry),
                found=entry,
                allowed=published,
                fix="name one of the entries above",
            )
        if entries[entry].percent is None:
            raise UserError(
                f"the paper prints no share for {entry} in {name}",
                field=(*address_of(field), entry),
                found=entry,
                fix=(
                    f"give {sources[entry]} a share of your own in weights, or map unlabelled, the "
                    "remainder of 6.5 % that it is part of"
                ),
            )


def preset_weights(
    name: PresetName, sources: Mapping[str, str], field: str | Address = "preset.sources"
) -> PresetShares:
    """The shares of a preset over one's own sources: ``sources`` says which source stands for which
    entry.

    Raises: UserError as :func:`check_entries`.
    """
    check_entries(name, sources, field)
    percents: dict[str, list[float]] = {}
    for entry, source in sources.items():
        percents.setdefault(source, []).append(PRESETS[name][entry].percent or 0.0)
    mapped = fsum(percent for group in percents.values() for percent in group)
    weights = {source: fsum(group) / mapped for source, group in percents.items()}
    left_out = tuple(
        LeftOut(entry, facts.percent)
        for entry, facts in PRESETS[name].items()
        if entry not in sources
    )
    return PresetShares(weights, left_out, mapped)
