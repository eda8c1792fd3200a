"""What schedules of matched lengths came to: verdicts, the table of ends, what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer.experiments.design import Base, Measured
from trainer.experiments.designs.cost_findings import cost_findings
from trainer.experiments.designs.decay_figures import courses, gains
from trainer.experiments.designs.ends import Ends, cells
from trainer.experiments.designs.matched_lengths import MatchedLengths, tokens_said
from trainer.experiments.designs.merge_findings import merge_findings
from trainer.experiments.findings import Claim as Stated
from trainer.experiments.findings import Findings, Table, stated
from trainer.experiments.outcomes import Outcome
from trainer.experiments.verdicts import Claim, judge


def schedule_findings(base: Base, asked: MatchedLengths, measured: Sequence[Measured]) -> Findings:
    """Claims of item 14 of a reproduction in one family, those about continuing in another; the
    equality of a branch and a run of its own is exact and needs no interval.
    """
    ends = Ends(measured, base.primary)
    first = judge([*_claims(ends, asked, base.loss_margin)])
    second = judge([*_continued(ends, asked, base.loss_margin)])
    costs, previews = cost_findings(asked, measured), merge_findings(ends, asked)
    return Findings(
        claims=(
            *stated([*first, *second]),
            *_same_bits(ends, asked),
            *costs.claims,
        ),
        tables=(_table(ends, asked), *previews.tables, *costs.tables),
        figures=(gains(ends, asked), courses(ends, asked), *previews.figures, *costs.figures),
        notes=(
            "All arms of a total share the peak rate of the stable run; a cosine's own best peak "
            "may be higher.",
            *previews.notes,
            *costs.notes,
            *ends.notes,
        ),
        facts={
            "ends": [
                {**labels, "losses": ends.losses(**labels)}
                for total in asked.totals
                for _, labels in asked.ends(total)
                if ends.at(**labels)
            ],
            "verdicts": [one.to_json() for one in [*first, *second]],
            **previews.facts,
            **costs.facts,
        },
    )


def _claims(ends: Ends, asked: MatchedLengths, margin: float) -> Iterator[Claim]:
    share, shortest = asked.main, asked.decays[0]
    for total in asked.totals:
        said = tokens_said(total)
        yield ends.claim(
            f"{said} tokens: before the decay the stable run is worse than the cosine there",
            "worse",
            asked.plateau(total, share),
            asked.midway(total),
            margin,
        )
        yield ends.claim(
            f"{said} tokens: with the last {share:.3g} decayed no worse than the cosine",
            "not worse",
            asked.wsd(total),
            asked.cosine(total),
            margin,
        )
        if shortest < share:
            yield ends.claim(
                f"{said} tokens: a decay of {shortest:.3g} is worse than one of {share:.3g}",
                "worse",
                asked.wsd(total, shortest),
                asked.wsd(total),
                margin,
            )


def _continued(ends: Ends, asked: MatchedLengths, margin: float) -> Iterator[Claim]:
    for total in asked.totals[1:]:
        if ends.at(**asked.again(total)):
            yield ends.claim(
                f"{tokens_said(total)} tokens: going on from the decayed end is no worse than from "
                "the stable checkpoint",
                "not worse",
                asked.again(total),
                asked.wsd(total),
                margin,
            )


def _same_bits(ends: Ends, asked: MatchedLengths) -> list[Stated]:
    """That a branch has the very figures of a run of its own of that length and seed."""
    alone = {int(one["seed"]): one.outcome for one in ends.at(arm="separate")}
    if not alone:
        return []
    total = asked.totals[0]
    branches = {int(one["seed"]): one.outcome for one in ends.at(**asked.wsd(total))}
    same: list[int] = []
    other: list[int] = []
    for seed in sorted(alone.keys() & branches.keys()):
        one, branch = alone[seed], branches[seed]
        equal = one.losses == branch.losses and _course(one, branch)
        (same if equal and one.diverged == branch.diverged else other).append(seed)
    name = (
        f"{tokens_said(total)} tokens: a branch of the stable run equals a separate run of that "
        "length and seed, bit for bit"
    )
    verdict = "refuted" if other else "shown" if same else "cannot tell"
    figures = {
        "equal seeds": _listed(same),
        "other seeds": _listed(other),
        "compared": "held-out losses at the end and on the way, exactly",
    }
    return [Stated(claim=name, verdict=verdict, figures=figures)]  # type: ignore[arg-type]


def _listed(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds)) or "none"


def _course(one: Outcome, branch: Outcome) -> bool:
    """Whether losses on the way are the same wherever both were looked at."""
    places = set(one.course.tokens) & set(branch.course.tokens)
    shown = [
        {
            name: [loss for at, loss in zip(run.course.tokens, losses, strict=True) if at in places]
            for name, losses in run.course.losses.items()
        }
        for run in (one, branch)
    ]
    return shown[0] == shown[1]


def _table(ends: Ends, asked: MatchedLengths) -> Table:
    rows = []
    for total in asked.totals:
        for name, labels in asked.ends(total):
            if not ends.at(**labels):
                continue
            losses, diverged = ends.losses(**labels), len(ends.at(**labels))
            against = cells(ends.contrast(labels, asked.cosine(total)))
            compared = (None,) * 3 if labels == asked.cosine(total) else against
            lost = diverged - len(losses)
            rows.append((total, name, ends.mean(**labels), *compared, len(losses), lost))
    unit = "nats per token" if ends.primary.unit == "nats" else "bits per byte"
    return Table(
        title="Ends of matched lengths",
        columns=("tokens", "schedule", "loss", "minus cosine", "low", "high", "seeds", "lost"),
        rows=tuple(rows),
        note=f"Mean held-out loss in {unit}. Differences are from the cosine to "
        f"{asked.finals[0]:g} of the same seed, with 95 % t-intervals over seeds; lost runs "
        "diverged.",
    )
