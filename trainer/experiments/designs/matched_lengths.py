"""Names of the arms of a schedule study: what findings ask of its points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trainer.experiments.runs import Label

Labels = dict[str, Label]


@dataclass(frozen=True)
class MatchedLengths:
    """``totals`` in tokens, ``decays`` as shares of them; ``main`` of these and the first of the
    cosines' ``finals`` are compared. ``shapes`` stand beside the first ``shape``, at
    ``shape_decays`` of the longest total; ``merged``: how many checkpoints are summed.
    """

    totals: tuple[int, ...]
    decays: tuple[float, ...]
    main: float
    shape: str
    shapes: tuple[str, ...] = ()
    shape_decays: tuple[float, ...] = ()
    finals: tuple[float, ...] = (0.1,)
    merged: tuple[int, ...] = ()

    def wsd(self, total: int, share: float | None = None, shape: str | None = None) -> Labels:
        """A decay from the stable run; default the main one."""
        named: Labels = {"share": share or self.main, "shape": shape or self.shape}
        return {"arm": "wsd", "tokens": total, **named}

    def cosine(self, total: int, final: float | None = None) -> Labels:
        """The cosine whose period is the total; default the first."""
        return {
            "arm": "cosine",
            "tokens": total,
            "final": self.finals[0] if final is None else final,
        }

    def midway(self, total: int) -> Labels:
        """The cosine where the main decay begins."""
        return {"arm": "midway", "tokens": total, "share": self.main}

    def plateau(self, total: int, share: float) -> Labels:
        """The stable run where a decay begins; of share 0 at the total."""
        return {"arm": "plateau", "tokens": total, "share": share}

    def again(self, total: int) -> Labels:
        """What goes on from the decayed end of the total before."""
        return {"arm": "again", "tokens": total}

    def merge(self, total: int, share: float, checkpoints: int) -> Labels:
        """The merge that stands for a decay."""
        named: Labels = {"share": share, "shape": self.shape, "checkpoints": checkpoints}
        return {"arm": "merge", "tokens": total, **named}

    def all_decays(self, total: int) -> Iterator[Labels]:
        """Every decay of a total: those of the first shape, then the others."""
        for share in self.decays:
            yield self.wsd(total, share)
        if total == self.totals[-1]:
            for shape in self.shapes:
                for share in self.shape_decays:
                    yield self.wsd(total, share, shape)

    def ends(self, total: int) -> Iterator[tuple[str, Labels]]:
        """Everything that was shown a total, with what it is called."""
        for final in self.finals:
            yield f"cosine to {final:g}", self.cosine(total, final)
        for labels in self.all_decays(total):
            share = float(labels["share"])
            yield f"WSD, {share:.3g} of the total, {labels['shape']}", labels
        yield "stable run, not decayed", self.plateau(total, 0.0)
        yield "from the decayed end before, decayed again", self.again(total)


def tokens_said(tokens: int) -> str:
    """Tokens in a few characters.

    >>> tokens_said(2_500_000), tokens_said(1_228_800), tokens_said(4096)
    ('2.5M', '1.23M', '4096')
    """
    return f"{tokens / 1e6:.3g}M" if tokens >= 1e5 else str(tokens)
