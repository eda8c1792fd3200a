"""What decays from one stable run cost beside a run of its own for each length (section 4.5).

Counted are the main decays of all totals with the stable run up to where the last of them begins,
tokens that they share once; beside them the cosines of the same totals, which were trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from artifacts.statistics.estimates import Estimate, mean_of
from trainer.experiments.design import Measured
from trainer.experiments.designs.ends import cells
from trainer.experiments.designs.matched_lengths import MatchedLengths
from trainer.experiments.findings import Figure, Findings, Panel, Series, Table, stated
from trainer.experiments.fits.cost_ledger import Branch, Ledger, Trunk, branching, ledger_of
from trainer.experiments.verdicts import Claim, judge

WALL_MARGIN = 0.1
"""A ratio of wall times within a tenth of that of operations counts as the same."""

PUBLISHED = ((10, 15, 20, 30, 40, 60), (1, 2, 4, 8, 16))


@dataclass(frozen=True)
class Bill:
    """Of one seed: operations, and seconds of training where all runs were made here."""

    operations: Ledger
    seconds: Ledger | None


def cost_findings(asked: MatchedLengths, measured: Sequence[Measured]) -> Findings:
    """The ledger over seeds; nothing where no seed has all of its runs."""
    seeds = sorted({int(one["seed"]) for one in measured})
    bills = {seed: bill for seed in seeds if (bill := _bill(asked, measured, seed)) is not None}
    if not bills:
        return Findings(notes=("No seed has all the runs that a ledger of costs needs.",))
    ledger = next(iter(bills.values())).operations
    ratio = _times(bills)
    reason = None if ratio else "fewer than two seeds have the times of all their runs"
    verdicts = judge(
        [
            Claim(
                "the wall time that branches save is what their operations say",
                "equivalent",
                ratio,
                WALL_MARGIN,
                "of the ratio",
                reason,
            )
        ]
    )
    expected = branching(asked.totals, asked.main).ratio
    return Findings(
        claims=stated(verdicts),
        tables=(_table(bills, asked),),
        figures=(_figure(bills),),
        notes=(
            "Wall time is that of training steps alone, of runs that may have been made beside "
            "others; the stable run's is taken in proportion to its steps.",
        ),
        facts={
            "cost": {
                "operations": ledger.to_json(),
                "formula": expected,
                "seconds": {
                    str(seed): bill.seconds.to_json()
                    for seed, bill in bills.items()
                    if bill.seconds is not None
                },
                "published": [
                    {"totals": list(totals), "ratio": branching(totals).ratio}
                    for totals in PUBLISHED
                ],
            }
        },
    )


def _bill(asked: MatchedLengths, measured: Sequence[Measured], seed: int) -> Bill | None:
    own = [one for one in measured if one.point.at(seed=seed) and one.outcome.diverged is None]

    def found(**labels: object) -> Measured | None:
        return next((one for one in own if one.point.at(**labels)), None)  # type: ignore[arg-type]

    trunk = found(arm="trunk")
    branches = [found(**asked.wsd(total)) for total in asked.totals]
    cosines = [found(**asked.cosine(total)) for total in asked.totals]
    if trunk is None or None in (*branches, *cosines):
        return None
    decays = [one for one in branches if one is not None]
    alone = [one for one in cosines if one is not None]
    starts = [one.outcome.tokens - one.outcome.own_tokens for one in decays]
    each = trunk.outcome.operations / trunk.outcome.own_tokens
    parts = [
        Branch(start, one.outcome.own_tokens) for start, one in zip(starts, decays, strict=True)
    ]
    operations = ledger_of([Trunk(max(starts), tuple(parts), each)])
    times = [one.seconds for one in (trunk, *decays, *alone)]
    if None in times:
        return Bill(operations, None)
    seconds = [float(value or 0.0) for value in times]
    shared = seconds[0] * max(starts) / trunk.outcome.own_tokens
    branched = shared + sum(seconds[1 : 1 + len(decays)])
    return Bill(operations, Ledger(branched, sum(seconds[1 + len(decays) :])))


def _times(bills: Mapping[int, Bill]) -> Estimate | None:
    """How far the ratio of wall times is from that of operations, relative to it."""
    off = [
        bill.seconds.ratio / bill.operations.ratio - 1
        for bill in bills.values()
        if bill.seconds is not None and bill.seconds.separate > 0
    ]
    return mean_of(off) if len(off) > 1 else None


def _table(bills: Mapping[int, Bill], asked: MatchedLengths) -> Table:
    ledger = next(iter(bills.values())).operations
    times = [bill.seconds for bill in bills.values() if bill.seconds is not None]
    rows: list[tuple[str | float | None, ...]] = [
        ("operations", ledger.separate, ledger.branched, ledger.ratio),
    ]
    if times:
        separate, branched = (
            sum(getattr(one, name) for one in times) / len(times)
            for name in ("separate", "branched")
        )
        rows.append(("seconds of training", separate, branched, branched / separate))
    rows += [
        (
            f"formula, totals {', '.join(map(str, totals))}",
            float(sum(totals)),
            branching(totals, share).branched,
            branching(totals, share).ratio,
        )
        for totals, share in ((asked.totals, asked.main), *((one, 0.1) for one in PUBLISHED))
    ]
    value, low, high = cells(_times(bills))
    said = "" if value is None else f" Off by {value:+.1%} ({low:+.1%} to {high:+.1%})."
    return Table(
        title="Cost of one stable run with branches, and of a run for each total",
        columns=("", "separate runs", "stable run and branches", "ratio"),
        rows=tuple(rows),
        note="Totals include their decay; the tokens that branches share count once. By seed, mean "
        f"over {len(bills)} seeds.{said}",
    )


def _figure(bills: Mapping[int, Bill]) -> Figure:
    kinds = ("operations", "seconds")
    shown = [
        [bill.operations for bill in bills.values()],
        [bill.seconds for bill in bills.values() if bill.seconds is not None],
    ]
    names = [name for name, ledgers in zip(kinds, shown, strict=True) if ledgers]
    ratios = [
        sum(one.ratio for one in ledgers if one is not None) / len(ledgers)
        for ledgers in shown
        if ledgers
    ]
    places = tuple(float(place) for place in range(len(names)))
    return Figure(
        name="cost-ledger",
        title="Cost of decays at several lengths",
        caption=f"Mean over {len(bills)} seeds, relative to a run of its own for each length; "
        "tokens that branches share count once.",
        panels=(
            Panel(
                x="",
                y="relative cost",
                ticks=tuple(names),
                series=(
                    Series(
                        name="separate runs", x=places, y=tuple(1.0 for _ in places), style="bars"
                    ),
                    Series(
                        name="one stable run, branches", x=places, y=tuple(ratios), style="bars"
                    ),
                ),
            ),
        ),
    )
