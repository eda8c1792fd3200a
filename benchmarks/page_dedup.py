"""Sections of the performance page on deduplication."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.page_tables import heading, megabytes, rate, rates, start_up, table

DEDUP_STEPS = {
    "words": "hash every word",
    "band_keys": "band keys (5-word shingles, 14 bands of 8 rows)",
    "shingle_sets_of_all": "shingle sets of every document",
    "groups": "group equal band keys",
    "verify": "exact Jaccard of candidates",
    "exact": "exact duplicates by text hash",
    "ngram_overlap": "look 13-grams up in a benchmark index",
}
DEDUP_PEERS = {
    ("datasketch", "shingling"): "datasketch: shingling in Python",
    ("datasketch", "update_batch"): "datasketch: `update_batch` on ready shingles",
    ("datasketch", "both"): "datasketch: both",
    ("datatrove",): "datatrove: shingles and signature, words by `str.split`",
}

SPAN_STEPS = {
    "whole": "**everything**: texts to texts without repeated passages",
    "anchors": "anchors of all windows",
    "anchors_that_occur_twice": "anchors that occur twice",
    "windows": "windows with such an anchor",
    "windows_that_stood_before": "windows that stood before, and where first",
    "joined": "windows joined to spans",
    "compared": "spans compared byte by byte",
    "cut": "texts without the spans",
    "line": "repeated lines, all steps but the cut",
    "paragraph": "repeated paragraphs, likewise",
}


def dedup_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Each corpus of the deduplication benchmark, ours and the peers."""
    yield from heading("Deduplication", name, result)
    yield (
        "Two figures each: by the wall clock, and by the processor time of the process. They "
        "differ when other processes share the core; "
        "the second is the one to compare between machines. All are per byte of the whole corpus, "
        "also where a step looks at candidates "
        f"only. {result['repeats']} repeats."
    )
    for label in [
        label for label, value in result.items() if isinstance(value, dict) and "band_keys" in value
    ]:
        corpus = result[label]
        yield from (
            "",
            f"### {label.capitalize()}",
            "",
            f"{corpus['documents']:,} documents, {megabytes(corpus['bytes'])}, "
            f"{corpus['word_count']:,} words; "
            f"{corpus['candidates']:,} candidates, {corpus['removed']:,} removed, "
            f"{corpus['compared']:,} pairs compared, "
            f"{corpus['skipped']:,} left out.",
            "",
        )
        rows = [
            (title, *rates(corpus[step])) for step, title in DEDUP_STEPS.items() if step in corpus
        ]
        peers = corpus.get("peers", {})
        for path, title in DEDUP_PEERS.items():
            found: Any = peers
            for part in path:
                found = found.get(part, {})
            if found:
                rows.append((title, *rates(found)))
        yield from table(("what", "MB/s, wall", "MB/s, processor time"), rows)
        if peers:
            yield from (
                "",
                f"Peers on {peers['documents']:,} of these documents, {megabytes(peers['bytes'])}.",
            )
    yield from start_up(result)


def span_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Each corpus of the benchmark of repeated spans: rates, planted passages, the suffix array."""
    yield from heading("Repeated passages", name, result)
    yield (
        f"Passages of {result['length']} words and more. Two figures each, as above, per byte of "
        "the whole corpus, also where a step looks "
        f"at a part of it. {result['repeats']} repeats."
    )
    for label in [
        label for label, value in result.items() if isinstance(value, dict) and "anchors" in value
    ]:
        corpus, planted, array = (
            result[label],
            result[label]["planted"],
            result[label]["suffix_array"],
        )
        yield from (
            "",
            f"### Passages: {label.capitalize()}",
            "",
            f"{corpus['documents']:,} documents, {megabytes(corpus['bytes'])}; "
            f"{corpus['anchor_count']:,} anchors, "
            f"{corpus['window_count']:,} windows, {corpus['span_count']:,} spans, "
            f"{corpus['share_of_bytes']:.1%} of the bytes. Lines: "
            f"{corpus['line']['share_of_bytes']:.1%}, paragraphs: "
            f"{corpus['paragraph']['share_of_bytes']:.1%}.",
            "",
        )
        rows = [(title, *rates(corpus[step])) for step, title in SPAN_STEPS.items()]
        if "mb_per_second" in array:
            rows.append(
                (
                    "suffix array and common prefixes by libdivsufsort and Kasai, "
                    f"{megabytes(array['bytes'])}",
                    *rates(array),
                )
            )
        yield from table(("what", "MB/s, wall", "MB/s, processor time"), rows)
        yield from (
            "",
            f"Planted in these documents: of {planted['copies_after_the_first']:,} later copies of "
            f"passages of {result['length']} to 500 "
            f"words {planted['found']:,} were cut whole, of {planted['first_copies']:,} first "
            f"copies {planted['kept']:,} left whole; of "
            f"{planted['short_copies']:,} copies below the length {planted['short_kept']:,} left "
            "whole.",
        )
        if "missed" in array:
            yield (
                f"Of {array['windows']:,} windows the suffix array proves "
                f"{array['windows_proved_by_neighbours']:,} to occur twice; "
                f"{array['missed']:,} of them were missed."
            )
    yield from start_up(result)


def dedup_job_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """The whole deduplication of files, ours and the peers': speed, then what was found."""
    yield from heading("Deduplicating files, the whole job", name, result)
    yield (
        "From compressed JSON Lines to kept ones, one worker on one core; MB are of uncompressed "
        "JSON. Two figures each, by the wall and "
        f"by processor time. Ours is the median of {result['repeats']} runs, the peers' of "
        f"{result['peer_repeats']}; times are ours on "
        "everything over the peer, by the wall."
    )
    for label, found in result["texts"].items():
        speed, judged = found["speed"], found["quality"]
        whole, subset = speed["all"], speed["subset"]
        yield from ("", f"### Whole job: {label}", "")
        rows = [(f"ours, {whole['megabytes']:,.0f} MB", *job_rates(whole), "")]
        rows.append((f"ours, {subset['megabytes']:,.1f} MB", *job_rates(subset["ours"]), ""))
        peers = [peer for peer in subset if peer not in ("megabytes", "ours")]
        rows += [
            (
                f"{peer}, {subset['megabytes']:,.1f} MB",
                *job_rates(subset[peer]),
                f"{subset[peer]['ours_on_all_over_this']['wall']:g}",
            )
            for peer in peers
        ]
        yield from table(
            ("tool and input", "MB/s, wall", "MB/s, processor time", "start-up, s", "times"), rows
        )
        yield from (
            "",
            f"{judged['documents']:,} documents with {judged['pairs_at_0.8']:,} pairs of a Jaccard "
            "similarity of at least 0.8 and "
            f"{judged['pairs_at_0.5']:,} of at least 0.5. Recall is of the former; a removed "
            "document is right if a kept one "
            "resembles it by at least 0.7.",
            "",
        )
        tools = ["ours", *peers]
        shown = [
            (
                tool,
                str(judged[tool]["removed"]),
                f"{judged[tool]['recall']}",
                f"{judged[tool]['precision']}",
            )
            for tool in tools
        ]
        yield from table(("tool", "removed", "recall", "precision"), shown)


def job_rates(found: dict[str, Any]) -> tuple[str, str, str]:
    return (
        rate(found["mb_per_second"]["median"]),
        rate(found["mb_per_processor_second"]),
        f"{found['start_up_seconds']:.1f}",
    )


def scale_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """The clustering as a corpus grows: time, memory, a second worker."""
    yield from heading("Clustering near-duplicates as a corpus grows", name, result)
    sizes = result["documents"]
    yield (
        "From band keys on disk to evidence and selections on disk, in seconds by the wall; "
        "generated documents, a fifth of them edited "
        f"copies. From the smallest to the largest corpus {result['times_as_long']:.1f} times as "
        "long and "
        f"{result['bytes_per_added_document']:.0f} bytes of peak memory per added document; two "
        "Dask workers are "
        f"{result['two_workers_times_one']:.2f} times as fast as one."
    )
    yield ""
    rows = []
    for documents, found in sizes.items():
        workers = [
            f"{found[kind]['seconds']['median']:.1f}"
            for kind in ("one_worker", "one_worker_on_dask", "two_workers")
        ]
        counts = (
            f"{int(documents):,}",
            megabytes(found["text_bytes"]),
            f"{found['candidates']:,}",
            f"{found['removed']:,}",
        )
        rows.append((*counts, *workers, megabytes(found["one_worker"]["peak_bytes"])))
    header = (
        "documents",
        "text",
        "candidates",
        "removed",
        "in process, s",
        "one Dask worker, s",
        "two, s",
        "peak memory",
    )
    yield from table(header, rows)
    largest = list(sizes.values())[-1]
    yield ""
    yield (
        "The largest, part by part, in seconds: "
        + ", ".join(
            f"{phase} {seconds:.1f}" for phase, seconds in largest["one_worker"]["phases"].items()
        )
        + (
            ". The evidence of all runs is the same: "
            f"{'yes' if all(found['same_evidence'] for found in sizes.values()) else 'NO'}."
        )
    )


def index_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Batches added to an index of near-duplicates."""
    yield from heading("Adding batches to an index", name, result)
    yield (
        "Ten batches one after another, against one run over all of them: the kept documents and "
        "the evidence are the same, else there is "
        "no result. Seconds are of processor time."
    )
    yield ""
    rows = []
    for label, found in result["texts"].items():
        batches = [batch["processor_seconds"] for batch in found["added"]]
        rows.append(
            (
                label,
                f"{found['documents']:,}",
                f"{found['kept']:,}",
                f"{found['bytes_per_document']:.1f}",
                f"{batches[0]:.2f}",
                f"{batches[-1]:.2f}",
                f"{found['one_run']['processor_seconds']:.2f}",
            )
        )
    header = (
        "text",
        "documents",
        "kept",
        "index, bytes per document",
        "first batch, s",
        "last batch, s",
        "the one run, s",
    )
    yield from table(header, rows)
