"""Sections of the performance page on data for training: loaders, shuffling, the ending."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.page_tables import heading, megabytes, table

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


def loader_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Reading batches from a warm page cache, beside the floor and the peers."""
    yield from heading("Reading batches", name, result)
    yield (
        f"Windows of {result['window']:,} tokens from {result['data']['tokens'] / 1e6:,.0f} "
        "million tokens of shuffled real text (repeated "
        f"under different ids) in {len(result['data']['sources'])} sources. Page cache "
        f"{result['page_cache']}; each run is a process "
        f"of its own on the same core and lasts {result['seconds_per_run']:g} s or more; runs of "
        "all loaders alternate. "
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
        header = (
            "what",
            "million tokens/s",
            "lowest",
            "highest",
            "per processor s",
            "bytes made per token",
            "ours over this",
        )
        yield from table(header, rows)
        starts = [
            f"{key}: {started(loaders[key])}"
            for key in LOADERS
            if "start_up_seconds" in loaders.get(key, {})
        ]
        yield from ("", f"Start-up, in no figure above: {'; '.join(starts)}.")
    peers = {
        f"{package} {version}"
        for packages in result["peer_packages"].values()
        for package, version in packages.items()
    }
    if peers:
        yield from ("", f"Peers in an environment of their own: {', '.join(sorted(peers))}.")


def started(found: dict[str, Any]) -> str:
    return ", ".join(
        f"{part.replace('_', ' ')} {value:g} s" for part, value in found["start_up_seconds"].items()
    )


def loader_cold_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """An epoch from files that were dropped from the page cache."""
    ours, disk = result["tokens_per_second"], result["sequential_bytes_per_second"]
    yield from heading("Reading batches from a cold page cache", name, result)
    yield (
        f"An epoch of {result['data']['tokens'] / 1e6:,.0f} million tokens in batches of "
        f"{result['batch']} windows of "
        f"{result['window']:,}, opening included, with at most "
        f"{result['share_of_pages_left_in_cache']:.1%} of the files' pages in the page cache "
        "before. "
        f"{result['repeats']} repeats."
        + (f" The disk: {result['disk']}." if "disk" in result else "")
    )
    yield ""
    yield from table(
        ("what", "median", "lowest", "highest"),
        [
            (
                "ours, million tokens/s",
                *(f"{ours[part] / 1e6:,.1f}" for part in ("median", "lowest", "highest")),
            ),
            (
                "the same files front to back, MB/s",
                *(f"{disk[part] / 1e6:,.0f}" for part in ("median", "lowest", "highest")),
            ),
            (
                "ours as a share of that rate (2 bytes per token)",
                f"{result['share_of_sequential_rate']:.2f}",
                "",
                "",
            ),
        ],
    )
    yield from (
        "",
        "A cache below the page cache, such as a host's, answers: "
        f"{result['a_cache_below_answers']}.",
    )


def loader_start_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Start on a plan of simulated size."""
    yield from heading("Start on a large plan", name, result)
    yield (
        f"{result['tokens'] / 1e12:,.3g} trillion tokens planned over {result['sources']} sources "
        f"with {result['parts']:,} parts of "
        f"{result['part_tokens']:,} tokens, all parts links to one file in the page cache; batches "
        f"of {result['batch']} windows of "
        f"{result['window']:,}. Fresh processes, behind imports, kernels compiled before. Medians "
        f"of {result['repeats']}."
    )
    yield ""
    rows = []
    for key, title in STARTS.items():
        scale, digits = (1e6, 1) if key.endswith("bytes") else (1, 3)
        rows.append(
            (
                title,
                *(
                    f"{result[which][key]['median'] / scale:,.{digits}f}"
                    for which in ("first_step", "deep_step")
                ),
            )
        )
    yield from table(("what", "step 0", f"step {result['deep_step']['step']:,}"), rows)
    yield ""
    yield (
        f"A checkpoint needs {result['state_bytes']} bytes of the loader, the step and the plan's "
        "hash, beside the plan itself "
        f"({megabytes(result['plan_bytes'])}). Manifests: {megabytes(result['manifest_bytes'])}. "
        "Freezing the plan took "
        f"{result['freeze']['seconds']:.1f} s and "
        f"{megabytes(result['freeze']['peak_growth_bytes'])} of memory."
    )


def shuffle_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """p-values of the order and the loss of training in three orders."""
    order, training = result["order"], result["training"]
    yield from heading("Shuffling", name, result)
    yield (
        f"Order of {order['windows']:,} windows in blocks of {order['block_windows']:,}, "
        f"{order['open_blocks']} of them open together, "
        f"for {order['keys']} seeds. p-values; of a random order 0.05 of them are below 0.05."
    )
    yield ""
    tests = [
        (
            ORDER_TESTS.get(key, key),
            f"{found['smallest_p']:g}",
            f"{found['share_below_0.05']:g}",
            f"{found['uniform_p']:g}",
        )
        for key, found in order["tests"].items()
    ]
    yield from table(("test", "smallest", "share below 0.05", "p that they are uniform"), tests)
    yield ""
    yield (
        f"Training: {training['steps']} steps of {training['batch_tokens']:,} tokens, "
        f"{training['epochs']:g} epochs of "
        f"{training['windows']:,} windows in blocks of {training['block_windows']:,}, "
        f"{training['open_blocks']} open; {training['seeds']} "
        "pairs. Difference to fully random order in nats per token, with its 95% t-interval."
    )
    yield ""
    rows = [("fully random", f"{training['held_out_loss']['random']:.4f}", "", "")]
    for key, title in (
        ("planned", "as planned"),
        ("sorted", "sorted by mean token, to see that order can matter"),
    ):
        found = training[f"{key}_less_random"]
        intervals = (
            f"{part['mean']:+.4f} ({part['low']:+.4f} to {part['high']:+.4f})"
            for part in (found["held_out"], found["training"])
        )
        rows.append((title, f"{training['held_out_loss'][key]:.4f}", *intervals))
    yield from table(
        ("order", "held-out loss", "difference held out", "difference in training"), rows
    )


def decay_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Two endings of one training over several seeds."""
    runs, count = result["runs"], len(result["seeds"])
    instructions = ", ".join(result["instruction_sources"])
    yield from heading("Instructions in the decay", name, result)
    yield (
        f"Not a speed: what `{result['recipe']}` is for. A model of {result['parameters']:,} "
        "parameters sees "
        f"{result['tokens']['stable']:,} tokens at a stable rate, then "
        f"{result['tokens']['decay']:,} while it decays, once with "
        f"{instructions} among them and once without, from the same checkpoint. {count} seeds, of "
        "initial weights and of order. Held-out "
        "documents, the same for all, in nats per token; means over the seeds. The difference is "
        "without minus with, the branch minus the run (above 0: "
        f"{instructions} in the decay helps), its interval Student's at "
        f"{result['confidence']:.0%}, with bits per byte beside it."
    )
    yield ""
    rows = []
    for source, units in result["differences"].items():
        means = [
            sum(run["held_out"][part][source]["nats"] for run in runs) / count
            for part in ("before", "with", "without")
        ]
        nats, bits = units["nats"], units["bits_per_byte"]["mean"]
        interval = f"{nats['low']:+.3f} to {nats['high']:+.3f}"
        rows.append(
            (
                source,
                *(f"{mean:.3f}" for mean in means),
                f"{nats['mean']:+.3f}",
                interval,
                f"{bits:+.3f}",
            )
        )
    yield from table(
        (
            "held-out source",
            "before the decay",
            "after, with",
            "after, without",
            "difference",
            "interval",
            "bits/byte",
        ),
        rows,
    )
    yield from (
        "",
        f"Seeds of {count} in which a loss is lower at the end of the decay than at the end of the "
        "stable phase. Training losses are",
    )
    yield (
        f"means over the last {result['last_steps']} steps of a phase, "
        "of other documents each time, so they are the noisier ones."
    )
    yield ""
    below = result["below_the_stable_phase"]
    names = sorted({*below["held_out"], *below["training"]})
    cells = [
        [
            below[kind].get(source, {}).get(ending)
            for kind in ("held_out", "training")
            for ending in ("with", "without")
        ]
        for source in names
    ]
    shown = [
        (source, *("" if value is None else str(value) for value in row))
        for source, row in zip(names, cells, strict=True)
    ]
    yield from table(
        ("source", "held-out, with", "held-out, without", "training, with", "training, without"),
        shown,
    )


def base_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """The base and the peak rate of the preset ``tiny``."""
    yield from heading("The base and the peak rate of `tiny`", name, result)
    seeds, first = len(result["seeds"]), result["trials"][0]
    yield (
        f"Not a speed: `{result['recipe']}` without its branch, trained with `dim_model_base` and "
        f"a peak rate of the schedule, over {seeds} seeds of initial weights and of order; "
        "documents, tokenizer and shards are the same for all. At width 128 a base of 256 is m = 0.5, "
        "which doubles the logits; a base of 128 is m = 1. Losses in nats per token, means over the "
        f"seeds; an even guess over the vocabulary costs {result['even_guess']:.3f}. A training "
        f"loss behind step 1 is the mean of {result['last_steps']} steps, a held-out loss the mean "
        "over the sources. The difference is that of the held-out loss at the end to base "
        f"{first['dim_model_base']}, peak {first['peak']:g}, paired by seed, with Student's "
        f"interval at {100 * result['confidence']:g}%; below 0 is better."
    )
    yield ""
    figures = tuple(first["mean"])
    last = figures[-1]
    rows = []
    for trial in result["trials"]:
        apart = trial["difference"][last]
        interval = f"{apart['low']:+.3f} to {apart['high']:+.3f}" if trial is not first else ""
        rows.append(
            (
                str(trial["dim_model_base"]),
                f"{trial['peak']:g}",
                *(f"{trial['mean'][figure]:.3f}" for figure in figures),
                f"{apart['mean']:+.3f}" if trial is not first else "",
                interval,
            )
        )
    yield from table(("base", "peak", *figures, "difference", "interval"), rows)
