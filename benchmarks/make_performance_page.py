"""docs/performance.md from the recorded results of the benchmarks.

    PYTHONPATH=. python benchmarks/make_performance_page.py            # writes docs/performance.md
    PYTHONPATH=. python benchmarks/make_performance_page.py --check    # exit code 1 when the page is not that of the results

Reads every ``benchmarks/results/*.json``. A benchmark with a section of its own is written as a table beside its peers; any other
is listed field by field, so that no result stays unseen. The page is a function of the files alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "performance.md"

HEAD = """# Performance

Made by `benchmarks/make_performance_page.py` from `benchmarks/results/*.json`; do not edit. How each was measured stands in
[benchmarks/README.md](../benchmarks/README.md).

Where a section says MB, they are millions of bytes of UTF-8 text, per second, on one core with every thread pool at 1. Each such figure is
the median of the repeats after a warm-up; reading files is in none of them. Peers ran in the same process, on the same documents or a
subset of them. The sections on loaders and shuffling say how they differ from this.
"""

PACKAGES = ("numba", "numpy", "pyarrow", "datasketch", "datatrove")

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args()
    page = render(read_results(RESULTS))
    if arguments.check:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page else 1
    PAGE.write_text(page, encoding="utf-8")
    print(PAGE)
    return 0


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Results by file name without suffix, sorted."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def render(results: dict[str, dict[str, Any]]) -> str:
    """The whole page."""
    parts = [HEAD]
    for name, result in results.items():
        parts.append("\n".join(SECTIONS.get(name, any_section)(name, result)) + "\n")
    return "\n".join(parts)


def signals_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Language identification and Gopher measures."""
    gopher, language = result["gopher_quality"], result["language"]
    yield from heading("Signals", name, result)
    yield (
        f"{result['documents']:,} documents, {megabytes(result['bytes'])} of text, of which language identification looks at "
        f"{megabytes(result['looked_at_bytes'])} (the first 2,000 bytes of each). {result['repeats']} repeats."
    )
    yield ""
    yield from table(
        ("what", "MB/s", "times the peer"),
        [
            ("Gopher quality, measures and rules", rate(gopher["ours_mb_per_s"]), f"{gopher['times_faster']:g}"),
            ("datatrove `GopherQualityFilter`, words by `str.split`", rate(gopher["datatrove_whitespace_words_mb_per_s"]), "1"),
            ("language, of bytes looked at", rate(language["ours_mb_per_s_looked_at"]), f"{language['times_faster']:g}"),
            ("py3langid, of bytes looked at", rate(language["py3langid_mb_per_s_looked_at"]), "1"),
            ("language, of whole documents", rate(language["ours_mb_per_s_whole_documents"]), ""),
        ],
    )
    yield ""
    yield (
        f"Same verdict and reason as datatrove: {gopher['same_verdict_and_reason']:,} of {result['documents']:,}. "
        f"Same language as py3langid: {language['same_label']:,} of {result['documents']:,}, "
        f"confidence at most {language['largest_difference_of_confidence']:.1e} apart."
    )
    yield from start_up(result)


def dedup_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Each corpus of the deduplication benchmark, ours and the peers."""
    yield from heading("Deduplication", name, result)
    yield (
        "Two figures each: by the wall clock, and by the processor time of the process. They differ when other processes share the core; "
        "the second is the one to compare between machines. All are per byte of the whole corpus, also where a step looks at candidates "
        f"only. {result['repeats']} repeats."
    )
    for label in [label for label, value in result.items() if isinstance(value, dict) and "band_keys" in value]:
        corpus = result[label]
        yield from (
            "",
            f"### {label.capitalize()}",
            "",
            f"{corpus['documents']:,} documents, {megabytes(corpus['bytes'])}, {corpus['word_count']:,} words; "
            f"{corpus['candidates']:,} candidates, {corpus['removed']:,} removed, {corpus['compared']:,} pairs compared, "
            f"{corpus['skipped']:,} left out.",
            "",
        )
        rows = [(title, *rates(corpus[step])) for step, title in DEDUP_STEPS.items() if step in corpus]
        peers = corpus.get("peers", {})
        for path, title in DEDUP_PEERS.items():
            found: Any = peers
            for part in path:
                found = found.get(part, {})
            if found:
                rows.append((title, *rates(found)))
        yield from table(("what", "MB/s, wall", "MB/s, processor time"), rows)
        if peers:
            yield from ("", f"Peers on {peers['documents']:,} of these documents, {megabytes(peers['bytes'])}.")
    yield from start_up(result)


def span_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Each corpus of the benchmark of repeated spans: rates, planted passages, the suffix array."""
    yield from heading("Repeated passages", name, result)
    yield (
        f"Passages of {result['length']} words and more. Two figures each, as above, per byte of the whole corpus, also where a step looks "
        f"at a part of it. {result['repeats']} repeats."
    )
    for label in [label for label, value in result.items() if isinstance(value, dict) and "anchors" in value]:
        corpus, planted, array = result[label], result[label]["planted"], result[label]["suffix_array"]
        yield from (
            "",
            f"### Passages: {label.capitalize()}",
            "",
            f"{corpus['documents']:,} documents, {megabytes(corpus['bytes'])}; {corpus['anchor_count']:,} anchors, "
            f"{corpus['window_count']:,} windows, {corpus['span_count']:,} spans, {corpus['share_of_bytes']:.1%} of the bytes. Lines: "
            f"{corpus['line']['share_of_bytes']:.1%}, paragraphs: {corpus['paragraph']['share_of_bytes']:.1%}.",
            "",
        )
        rows = [(title, *rates(corpus[step])) for step, title in SPAN_STEPS.items()]
        if "mb_per_second" in array:
            rows.append((f"suffix array and common prefixes by libdivsufsort and Kasai, {megabytes(array['bytes'])}", *rates(array)))
        yield from table(("what", "MB/s, wall", "MB/s, processor time"), rows)
        yield from (
            "",
            f"Planted in these documents: of {planted['copies_after_the_first']:,} later copies of passages of {result['length']} to 500 "
            f"words {planted['found']:,} were cut whole, of {planted['first_copies']:,} first copies {planted['kept']:,} left whole; of "
            f"{planted['short_copies']:,} copies below the length {planted['short_kept']:,} left whole.",
        )
        if "missed" in array:
            yield (
                f"Of {array['windows']:,} windows the suffix array proves {array['windows_proved_by_neighbours']:,} to occur twice; "
                f"{array['missed']:,} of them were missed."
            )
    yield from start_up(result)


LOADERS = {
    "memmap": "floor: the same windows copied from a bare memory map",
    "loader": "**ours**: inputs, targets, weights, positions, documents, borders",
    "streaming": "mosaicml-streaming, shuffled MDS samples: tokens alone",
    "datasets-numpy": "Hugging Face datasets, shuffled rows, numpy: tokens alone",
    "datasets-torch": "Hugging Face datasets, shuffled rows, torch: tokens alone",
    "dataloader": "torch `DataLoader` over a memory map, shuffled: tokens alone",
    "streaming+borders": "mosaicml-streaming, and what ours makes by numpy",
    "datasets-numpy+borders": "Hugging Face datasets, numpy, and what ours makes by numpy",
    "dataloader+borders": "torch `DataLoader`, and what ours makes by numpy",
}
STARTS = {
    "seconds_to_first_batch": "plan's file to first batch, s",
    "seconds_reading_plan": "of this, reading the plan, s",
    "seconds_opening": "of this, opening the sources, s",
    "seconds_of_first_batch": "of this, the batch, s",
    "seconds_of_next_batch": "the next batch, s",
    "seconds_tracing_a_step": "tracing the step, sources opened anew, s",
    "seconds_tracing_a_document": "tracing a document, s",
    "memory_growth_bytes": "growth of the process's own memory, MB",
    "peak_growth_bytes": "growth of peak memory, mapped pages of shards included, MB",
}
ORDER_TESTS = {
    "place_in_group": "place among the open blocks against place in its block",
    "block_in_group": "place among the open blocks against which of them",
    "block_neighbours": "places of neighbouring blocks",
    "block_runs": "runs in the order of blocks",
    "epochs_blocks_spearman": "blocks in successive epochs, Spearman",
    "epochs_blocks_kendall": "blocks in successive epochs, Kendall",
    "epochs_windows_spearman": "windows among the open blocks in successive epochs, Spearman",
}


def dedup_job_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """The whole deduplication of files, ours and the peers': speed, then what was found."""
    yield from heading("Deduplicating files, the whole job", name, result)
    yield (
        "From compressed JSON Lines to kept ones, one worker on one core; MB are of uncompressed JSON. Two figures each, by the wall and "
        f"by processor time. Ours is the median of {result['repeats']} runs, the peers' of {result['peer_repeats']}; times are ours on "
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
            (f"{peer}, {subset['megabytes']:,.1f} MB", *job_rates(subset[peer]), f"{subset[peer]['ours_on_all_over_this']['wall']:g}")
            for peer in peers
        ]
        yield from table(("tool and input", "MB/s, wall", "MB/s, processor time", "start-up, s", "times"), rows)
        yield from (
            "",
            f"{judged['documents']:,} documents with {judged['pairs_at_0.8']:,} pairs of a Jaccard similarity of at least 0.8 and "
            f"{judged['pairs_at_0.5']:,} of at least 0.5. Recall is of the former; a removed document is right if a kept one "
            "resembles it by at least 0.7.",
            "",
        )
        tools = ["ours", *peers]
        shown = [(tool, str(judged[tool]["removed"]), f"{judged[tool]['recall']}", f"{judged[tool]['precision']}") for tool in tools]
        yield from table(("tool", "removed", "recall", "precision"), shown)


def job_rates(found: dict[str, Any]) -> tuple[str, str, str]:
    return rate(found["mb_per_second"]["median"]), rate(found["mb_per_processor_second"]), f"{found['start_up_seconds']:.1f}"


def loader_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Reading batches from a warm page cache, beside the floor and the peers."""
    yield from heading("Reading batches", name, result)
    yield (
        f"Windows of {result['window']:,} tokens from {result['data']['tokens'] / 1e6:,.0f} million tokens of shuffled real text (repeated "
        f"under different ids) in {len(result['data']['sources'])} sources. Page cache {result['page_cache']}; each run is a process "
        f"of its own on the same core and lasts {result['seconds_per_run']:g} s or more; runs of all loaders alternate. "
        f"{result['repeats']} repeats."
    )
    for batch, loaders in result["batches"].items():
        yield from ("", f"### Batches of {batch} windows", "")
        rows = []
        for key in [key for key in LOADERS if key in loaders]:
            found = loaders[key]
            rates = found["tokens_per_second"]
            rows.append(
                (
                    LOADERS[key],
                    *(f"{rates[part] / 1e6:,.1f}" for part in ("median", "lowest", "highest")),
                    f"{found['tokens_per_processor_second'] / 1e6:,.1f}",
                    f"{found['bytes_per_token']:g}",
                    f"{found.get('ours_over_this', 1):.2f}",
                )
            )
        header = ("what", "million tokens/s", "lowest", "highest", "per processor s", "bytes made per token", "ours over this")
        yield from table(header, rows)
        starts = [f"{key}: {started(loaders[key])}" for key in LOADERS if "start_up_seconds" in loaders.get(key, {})]
        yield from ("", f"Start-up, in no figure above: {'; '.join(starts)}.")
    peers = {f"{package} {version}" for packages in result["peer_packages"].values() for package, version in packages.items()}
    if peers:
        yield from ("", f"Peers in an environment of their own: {', '.join(sorted(peers))}.")


def started(found: dict[str, Any]) -> str:
    return ", ".join(f"{part.replace('_', ' ')} {value:g} s" for part, value in found["start_up_seconds"].items())


def loader_cold_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """An epoch from files that were dropped from the page cache."""
    ours, disk = result["tokens_per_second"], result["sequential_bytes_per_second"]
    yield from heading("Reading batches from a cold page cache", name, result)
    yield (
        f"An epoch of {result['data']['tokens'] / 1e6:,.0f} million tokens in batches of {result['batch']} windows of "
        f"{result['window']:,}, opening included, with at most "
        f"{result['share_of_pages_left_in_cache']:.1%} of the files' pages in the page cache before. "
        f"{result['repeats']} repeats."
    )
    yield ""
    yield from table(
        ("what", "median", "lowest", "highest"),
        [
            ("ours, million tokens/s", *(f"{ours[part] / 1e6:,.1f}" for part in ("median", "lowest", "highest"))),
            ("the same files front to back, MB/s", *(f"{disk[part] / 1e6:,.0f}" for part in ("median", "lowest", "highest"))),
            ("ours as a share of that rate (2 bytes per token)", f"{result['share_of_sequential_rate']:.2f}", "", ""),
        ],
    )
    yield from ("", f"A cache below the page cache, such as a host's, answers: {result['a_cache_below_answers']}.")


def loader_start_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Start on a plan of simulated size."""
    yield from heading("Start on a large plan", name, result)
    yield (
        f"{result['tokens'] / 1e12:,.3g} trillion tokens planned over {result['sources']} sources with {result['parts']:,} parts of "
        f"{result['part_tokens']:,} tokens, all parts links to one file in the page cache; batches of {result['batch']} windows of "
        f"{result['window']:,}. Fresh processes, behind imports, kernels compiled before. Medians of {result['repeats']}."
    )
    yield ""
    rows = []
    for key, title in STARTS.items():
        scale, digits = (1e6, 1) if key.endswith("bytes") else (1, 3)
        rows.append((title, *(f"{result[which][key]['median'] / scale:,.{digits}f}" for which in ("first_step", "deep_step"))))
    yield from table(("what", "step 0", f"step {result['deep_step']['step']:,}"), rows)
    yield ""
    yield (
        f"A checkpoint needs {result['state_bytes']} bytes of the loader, the step and the plan's hash, beside the plan itself "
        f"({megabytes(result['plan_bytes'])}). Manifests: {megabytes(result['manifest_bytes'])}. Freezing the plan took "
        f"{result['freeze']['seconds']:.1f} s and {megabytes(result['freeze']['peak_growth_bytes'])} of memory."
    )


def shuffle_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """p-values of the order and the loss of training in three orders."""
    order, training = result["order"], result["training"]
    yield from heading("Shuffling", name, result)
    yield (
        f"Order of {order['windows']:,} windows in blocks of {order['block_windows']:,}, {order['open_blocks']} of them open together, "
        f"for {order['keys']} seeds. p-values; of a random order 0.05 of them are below 0.05."
    )
    yield ""
    tests = [
        (ORDER_TESTS.get(key, key), f"{found['smallest_p']:g}", f"{found['share_below_0.05']:g}", f"{found['uniform_p']:g}")
        for key, found in order["tests"].items()
    ]
    yield from table(("test", "smallest", "share below 0.05", "p that they are uniform"), tests)
    yield ""
    yield (
        f"Training: {training['steps']} steps of {training['batch_tokens']:,} tokens, {training['epochs']:g} epochs of "
        f"{training['windows']:,} windows in blocks of {training['block_windows']:,}, {training['open_blocks']} open; {training['seeds']} "
        "pairs. Difference to fully random order in nats per token, with its 95% t-interval."
    )
    yield ""
    rows = [("fully random", f"{training['held_out_loss']['random']:.4f}", "", "")]
    for key, title in (("planned", "as planned"), ("sorted", "sorted by mean token, to see that order can matter")):
        found = training[f"{key}_less_random"]
        intervals = (f"{part['mean']:+.4f} ({part['low']:+.4f} to {part['high']:+.4f})" for part in (found["held_out"], found["training"]))
        rows.append((title, f"{training['held_out_loss'][key]:.4f}", *intervals))
    yield from table(("order", "held-out loss", "difference held out", "difference in training"), rows)


def decay_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Two endings of one training over several seeds."""
    runs, count = result["runs"], len(result["seeds"])
    instructions = ", ".join(result["instruction_sources"])
    yield from heading("Instructions in the decay", name, result)
    yield (
        f"Not a speed: what `{result['recipe']}` is for. A model of {result['parameters']:,} parameters sees "
        f"{result['tokens']['stable']:,} tokens at a stable rate, then {result['tokens']['decay']:,} while it decays, once with "
        f"{instructions} among them and once without, from the same checkpoint. {count} seeds, of initial weights and of order. Held-out "
        "documents, the same for all, in nats per token; means over the seeds. The difference is with minus without (below 0: "
        f"{instructions} in the decay helps), its interval Student's at {result['confidence']:.0%}, with bits per byte beside it."
    )
    yield ""
    rows = []
    for source, units in result["differences"].items():
        means = [sum(run["held_out"][part][source]["nats"] for run in runs) / count for part in ("before", "with", "without")]
        nats, bits = units["nats"], units["bits_per_byte"]["mean"]
        interval = f"{nats['low']:+.3f} to {nats['high']:+.3f}"
        rows.append((source, *(f"{mean:.3f}" for mean in means), f"{nats['mean']:+.3f}", interval, f"{bits:+.3f}"))
    yield from table(("held-out source", "before the decay", "after, with", "after, without", "difference", "interval", "bits/byte"), rows)
    yield from (
        "",
        f"Seeds of {count} in which a loss is lower at the end of the decay than at the end of the stable phase. Training losses are",
    )
    yield f"means over the last {result['last_steps']} steps of a phase, of other documents each time, so they are the noisier ones."
    yield ""
    below = result["below_the_stable_phase"]
    names = sorted({*below["held_out"], *below["training"]})
    cells = [
        [below[kind].get(source, {}).get(ending) for kind in ("held_out", "training") for ending in ("with", "without")] for source in names
    ]
    shown = [(source, *("" if value is None else str(value) for value in row)) for source, row in zip(names, cells, strict=True)]
    yield from table(("source", "held-out, with", "held-out, without", "training, with", "training, without"), shown)


def any_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """A benchmark without a section of its own: every figure it recorded."""
    yield from heading(name.replace("_", " ").capitalize(), name, result)
    figures = {key: value for key, value in result.items() if key not in ("benchmark", "machine")}
    yield from table(("figure", "value"), [(path, str(value)) for path, value in leaves(figures)])


def heading(title: str, name: str, result: dict[str, Any]) -> Iterator[str]:
    machine = dict(result.get("machine", {}))
    flat = {key: machine.pop(key) for key in PACKAGES if key in machine}
    versions = machine.pop("packages", flat)
    yield from (f"## {title}", "")
    facts = [f"{machine['processor']}" if "processor" in machine else "machine not recorded"]
    facts += [f"Python {machine['python']}"] if "python" in machine else []
    facts += [f"{package} {version}" for package, version in versions.items()]
    facts += [f"load average {machine['load_average']}"] if "load_average" in machine else []
    yield from (f"`results/{name}.json`: {', '.join(facts)}.", "")


def start_up(result: dict[str, Any]) -> Iterator[str]:
    seconds = result.get("start_up_seconds", {})
    if seconds:
        listed = ", ".join(f"{what.replace('_', ' ')} {value:g} s" for what, value in seconds.items())
        yield from ("", f"Start-up, in no figure above: {listed}.")


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "|".join("---" if column == 0 else "---:" for column in range(len(header))) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of every number and string."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if entries is None:
        yield path, value
        return
    for key, inner in entries:
        yield from leaves(inner, f"{path}.{key}" if path else str(key))


def rates(entry: dict[str, float]) -> tuple[str, str]:
    return rate(entry["mb_per_second"]), rate(entry["mb_per_processor_second"])


def rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


SECTIONS: dict[str, Callable[[str, dict[str, Any]], Iterator[str]]] = {
    "signals": signals_section,
    "dedup_job": dedup_job_section,
    "dedup_signatures": dedup_section,
    "dedup_substring": span_section,
    "loader": loader_section,
    "loader_cold": loader_cold_section,
    "loader_start": loader_start_section,
    "shuffle_quality": shuffle_section,
    "decay_comparison": decay_section,
}

if __name__ == "__main__":
    raise SystemExit(main())
