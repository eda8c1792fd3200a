"""The sections of a report that are about documents: funnel, reasons, distributions, duplicates,
benchmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from pipelines.comparisons.between_sources import FACT as IN_FAVOUR_OF
from pipelines.corpus.excerpts import one_line
from pipelines.report.distributions import SCORE_BINS, BeforeAfter, SourceDistributions
from pipelines.report.drawing import Part, histogram, stacked_bar
from pipelines.report.findings import Findings
from pipelines.report.funnel import Funnel, FunnelRow
from pipelines.report.language_losses import judged_notes
from pipelines.report.near_duplicates import SIMILARITY_BINS, DedupEvidence, Pair
from pipelines.report.numerals import power_of_two
from pipelines.report.quality_words import quality_line
from pipelines.report.reasons import Key, dropped_by_reason
from pipelines.report.recipe_stages import limit_of, recorded_stages
from pipelines.report.source_overlap import overlap_rows
from pipelines.report.text_funnel import TextFunnel, TextRow
from pipelines.report.word_diff import word_diff

STEP_COLOURS = 8
# of the most frequent; the rest are one part
LANGUAGE_COLOURS = ("kept", "s1", "s2", "s3", "s4", "s5", "s6")
CHARTED_SOURCES = 24
SNIPPET = 200  # characters
QUALITY_NOTE = (
    "Sampled documents were compared exactly with every document that stayed; removals were "
    "confirmed by a second "
    "implementation. Intervals hold at {:g} %."
)


def funnel_section(funnel: Funnel, texts: TextFunnel) -> dict[str, Any]:
    """Bars and tables; a step's colour is its place among the steps that dropped something."""
    shown = [
        place
        for place, step in enumerate(funnel.steps)
        if funnel.total.dropped[place] or step.name not in ("read", "unique", "conversations")
    ]
    colours = {
        place: f"s{number % STEP_COLOURS}"
        for number, place in enumerate(place for place in shown if funnel.total.dropped[place])
    }
    first = next((place for place in shown if funnel.steps[place].compares), None)
    last = next((place for place in reversed(shown) if funnel.steps[place].compares), None)
    took = [(place, colour) for place, colour in colours.items() if texts.total.dropped[place]]
    return {
        "rows": [(row, _bar(row, funnel, colours)) for row in (funnel.total, *funnel.rows)],
        "steps": [(place, funnel.steps[place], colours.get(place)) for place in shown],
        "first_dedup": first,
        "last_dedup": last,
        "any_quarantined": bool(sum(funnel.total.quarantined)),
        "unit": texts.unit,
        "any_cut": any(row.cut for row in texts.rows),
        "text_steps": [(place, funnel.steps[place].label, colour) for place, colour in took],
        "text_rows": [(row, _text_bar(row, funnel, took)) for row in (texts.total, *texts.rows)],
    }


def _bar(row: FunnelRow, funnel: Funnel, colours: dict[int, str]) -> Markup:
    """A source in documents."""
    parts = [Part("kept", row.kept, "kept")]
    parts += [
        Part(f"dropped by {funnel.steps[place].label}", row.dropped[place], colour)
        for place, colour in colours.items()
    ]
    return stacked_bar(
        [*parts, Part("quarantined", sum(row.quarantined), "bad")],
        label=f"funnel of {row.source}",
    )


def _text_bar(row: TextRow, funnel: Funnel, took: Sequence[tuple[int, str]]) -> Markup:
    """A source in tokens, or in bytes of text."""
    parts = [Part("kept", row.kept, "kept")]
    parts += [
        Part(f"dropped by {funnel.steps[place].label}", row.dropped[place], colour)
        for place, colour in took
    ]
    return stacked_bar(
        [*parts, Part("cut out of texts", max(row.cut, 0), "other")],
        label=f"text of {row.source}",
    )


def reasons_section(record: dict[str, Any], found: Findings) -> dict[str, Any]:
    """A row per (step, reason), the most frequent first, then rules that fired without ever being
    first.
    """
    counts = dropped_by_reason(record)
    keys: list[Key] = sorted(counts, key=lambda key: -counts[key]["documents"])
    keys += sorted(key for key, fires in found.reasons.fires.items() if fires and key not in counts)
    most = max(
        [count["documents"] for count in counts.values()]
        + [found.reasons.fires.get(key, 0) for key in keys],
        default=0,
    )
    rows = []
    for key in keys:
        documents = counts.get(key, {"documents": 0, "bytes": 0})
        only = found.reasons.only.get(key)
        rest = documents["documents"] - min(only or 0, documents["documents"])
        parts = [Part("dropped for this reason", rest, "other" if only is None else "first")]
        if only:
            parts.insert(0, Part("only this rule drops them", only, "only"))
        rows.append(
            {
                "step": key[0],
                "reason": key[1],
                **documents,
                "fires": found.reasons.fires.get(key),
                "only": only,
                "bar": stacked_bar(parts, most, label=f"documents dropped for {key[1]}"),
                "samples": _samples(key, found),
            }
        )
    judged = [note for ledger in record["ledgers"] for note in judged_notes(ledger)]
    return {"rows": rows, "judged": judged}


def _samples(key: Key, found: Findings) -> list[dict[str, Any]]:
    samples = []
    for sample in found.reasons.samples.get(key, []):
        excerpt = found.excerpts.get((sample.chunk, sample.row))
        if excerpt is not None:
            samples.append(
                {
                    "document": excerpt,
                    "measured": sample.measured,
                    "text": one_line(excerpt.text, SNIPPET),
                }
            )
    return samples


def distributions_section(
    record: dict[str, Any], funnel: Funnel, found: Findings
) -> dict[str, Any]:
    """Charts of the largest sources, in the order of the recipe."""
    largest = sorted(funnel.rows, key=lambda row: -row.entered)[:CHARTED_SOURCES]
    rows = [
        (row.source, found.distributions[row.source])
        for row in funnel.rows
        if row in largest and row.source in found.distributions
    ]
    lengths = _common_range([values.characters for _, values in rows])
    words = _common_range([values.words for _, values in rows])
    return {
        "left_out": max(0, len(funnel.rows) - CHARTED_SOURCES),
        "length": [
            _half_octaves(source, values.characters, lengths, "characters")
            for source, values in rows
        ],
        "words": [
            _half_octaves(source, values.words, words, "words")
            for source, values in rows
            if values.words.before.any()
        ],
        "scores": [
            _scores(source, values.scores, limit_of(record, "language", "min_score", source))
            for source, values in rows
            if values.scores.before.any()
        ],
        **_languages([(source, values) for source, values in rows if values.languages]),
    }


def _common_range(histograms: Sequence[BeforeAfter]) -> tuple[int, int]:
    """First and past-the-last bin any of them fills, an even number of octaves."""
    filled = [place for values in histograms for place in values.before.nonzero()[0].tolist()]
    low, high = (min(filled) // 2 * 2, (max(filled) // 2 + 1) * 2) if filled else (0, 4)
    return low, high + (high - low) % 4


def _half_octaves(
    source: str, values: BeforeAfter, span: tuple[int, int], unit: str
) -> dict[str, Any]:
    low, high = span
    edges = [round(2 ** (place / 2)) for place in range(low, high + 1)]
    names = [
        f"{a:,} to {b - 1:,} {unit}" if b - 1 > a else f"{a:,} {unit}" for a, b in pairwise(edges)
    ]
    chart = histogram(
        values.before[low:high].tolist(),
        values.after[low:high].tolist(),
        names,
        f"{unit} of {source}",
    )
    axis = [power_of_two(exponent) for exponent in (low // 2, (low + high) // 4, high // 2)]
    return {
        "source": source,
        "chart": chart,
        "axis": axis,
        "before": int(values.before.sum()),
        "after": int(values.after.sum()),
    }


def _scores(source: str, values: BeforeAfter, limit: float | None) -> dict[str, Any]:
    names = [
        f"{place / SCORE_BINS:.2f} to {(place + 1) / SCORE_BINS:.2f}" for place in range(SCORE_BINS)
    ]
    chart = histogram(
        values.before.tolist(),
        values.after.tolist(),
        names,
        f"language score of {source}",
        None if limit is None else limit * SCORE_BINS,
    )
    return {
        "source": source,
        "chart": chart,
        "axis": ["0", "0.5", "1"],
        "before": int(values.before.sum()),
        "after": int(values.after.sum()),
    }


def _languages(rows: Sequence[tuple[str, SourceDistributions]]) -> dict[str, Any]:
    totals: dict[str, int] = {}
    for _, values in rows:
        for language, (before, _kept) in values.languages.items():
            totals[language] = totals.get(language, 0) + before
    frequent = sorted(totals, key=lambda language: (-totals[language], language))[
        : len(LANGUAGE_COLOURS)
    ]
    shown = []
    for source, values in rows:
        bars = []
        for place in (0, 1):
            counts = [values.languages.get(language, [0, 0])[place] for language in frequent]
            parts = [
                Part(*triple) for triple in zip(frequent, counts, LANGUAGE_COLOURS, strict=False)
            ]
            rest = sum(
                pair[place]
                for language, pair in values.languages.items()
                if language not in frequent
            )
            bars.append(
                stacked_bar(
                    [*parts, Part("other languages", rest, "other")], label=f"languages of {source}"
                )
            )
        ordered = sorted(values.languages.items(), key=lambda item: (-item[1][0], item[0]))
        sums = [sum(counts[place] for counts in values.languages.values()) for place in (0, 1)]
        shown.append({"source": source, "bars": bars, "sums": sums, "top": ordered[:5]})
    return {
        "languages": shown,
        "legend": list(zip(LANGUAGE_COLOURS, frequent, strict=False)),
        "others": len(totals) > len(frequent),
    }


def duplicates_section(record: dict[str, Any], found: Findings) -> list[dict[str, Any]]:
    """Numbers of each deduplication, with its pairs where it compared texts."""
    return [_dedup(record, evidence, found) for evidence in found.evidence]


def _dedup(record: dict[str, Any], evidence: DedupEvidence, found: Findings) -> dict[str, Any]:
    filled = evidence.similarity.nonzero()[0]
    low = int(filled.min()) // 5 * 5 if len(filled) else 0
    names = [
        f"similarity {place / SIMILARITY_BINS:.2f} to {(place + 1) / SIMILARITY_BINS:.2f}"
        for place in range(low, SIMILARITY_BINS)
    ]
    facts = {
        name.replace("_", " "): value
        for name, value in record["evidence"][evidence.step].items()
        if name != "file" and isinstance(value, int)
    }
    verify = limit_of(record, "minhash_dedup", "verify", name=evidence.step)
    threshold = None if verify is None else verify * SIMILARITY_BINS - low
    quality = record["evidence"][evidence.step].get("quality")
    measured = quality is not None and "kept" in quality
    return {
        "evidence": evidence,
        "crossing": _crossing(record, record["evidence"][evidence.step].get(IN_FAVOUR_OF, {})),
        "quality": None if quality is None else quality_line(quality),
        "quality_note": QUALITY_NOTE.format(100 * quality["confidence"])
        if quality is not None and measured
        else None,
        "facts": {name: value for name, value in facts.items() if name != "clusters"},
        "chart": histogram(evidence.similarity[low:].tolist(), None, names, "similarity", threshold)
        if evidence.pairs
        else None,
        "axis": [f"{low / SIMILARITY_BINS:.2f}", f"{(low / SIMILARITY_BINS + 1) / 2:.2f}", "1"],
        "pairs": [shown for pair in evidence.pairs if (shown := _pair(pair, found)) is not None],
    }


def _crossing(record: dict[str, Any], counts: dict[str, dict[str, int]]) -> dict[str, Any] | None:
    """Removed documents by source (rows) and by the source of those that stand for them (columns);
    None where one source is all.
    """
    sources = [source["name"] for source in record["recipe"]["corpus"]["sources"]]
    columns = [source for source in sources if any(source in row for row in counts.values())]
    if len({*counts, *columns}) < 2:
        return None
    rows = [
        (source, [counts[source].get(other, 0) for other in columns])
        for source in sources
        if source in counts
    ]
    return {"columns": columns, "rows": rows}


def _pair(pair: Pair, found: Findings) -> dict[str, Any] | None:
    removed, kept = found.excerpt(pair.removed), found.excerpt(pair.kept)
    if removed is None or kept is None:
        return None
    return {
        "pair": pair,
        "removed": removed,
        "kept": kept,
        "diff": word_diff(removed.text, kept.text),
    }


def overlap_section(record: dict[str, Any], found: Findings) -> dict[str, Any] | None:
    """Sources against sources; None where no stage measured shingles."""
    stages = [stage for stage in recorded_stages(record) if stage.kind == "source_overlap"]
    if found.overlap is None:
        return None
    sources = [source["name"] for source in record["recipe"]["corpus"]["sources"]]
    tables = [("Documents read", found.overlap.read), ("Documents kept", found.overlap.kept)]
    return {
        "ngrams": stages[0].settings["ngrams"],
        "scale": max(stage.settings["scale"] for stage in stages),
        "tables": [
            {"title": title, "rows": overlap_rows(samples, sources)} for title, samples in tables
        ],
    }


def benchmark_section(record: dict[str, Any], found: Findings) -> dict[str, Any] | None:
    """None where the recipe has no decontamination."""
    stages = [stage for stage in recorded_stages(record) if stage.kind == "decontaminate"]
    if not stages or not found.overlaps.measured:
        return None
    names = {stage.name for stage in stages}
    dropped = [
        (source, count)
        for ledger in record["ledgers"]
        if ledger["step"] in names
        for source, entry in sorted(ledger["sources"].items())
        for count in entry["dropped"].values()
    ]
    bins = len(found.overlaps.fractions)
    labels = [f"{place / bins:.2f} to {(place + 1) / bins:.2f} of an item" for place in range(bins)]
    fullest = []
    for overlap in found.overlaps.fullest:
        excerpt = found.excerpts.get((overlap.chunk, overlap.row))
        if excerpt is not None:
            start = len(excerpt.text.encode()[: overlap.first_offset].decode(errors="ignore"))
            fullest.append(
                {
                    "overlap": overlap,
                    "document": excerpt,
                    "text": one_line(excerpt.text, SNIPPET, max(0, start - 20)),
                }
            )
    return {
        "stages": stages,
        "dropped": dropped,
        "total": sum(count["documents"] for _, count in dropped),
        "overlaps": found.overlaps,
        "chart": histogram(
            found.overlaps.fractions.tolist(),
            None,
            labels,
            "share of a benchmark item",
            stages[0].settings["overlap"] * bins,
        ),
        "fullest": fullest,
    }
