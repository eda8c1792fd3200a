"""docs/performance.md from the recorded results of the benchmarks.

    PYTHONPATH=. python benchmarks/make_performance_page.py            # writes docs/performance.md
    PYTHONPATH=. python benchmarks/make_performance_page.py --check
        # exit code 1 when the page is not that of the results

Reads every ``benchmarks/results/*.json``, and ``benchmarks/gpu/results/*.json`` for the section on
GPUs. A benchmark with a section of its own is written as a table beside its peers; any other is
listed field by field, so that no result stays unseen. The page is a function of the files alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import (
    page_dedup,
    page_export,
    page_generation,
    page_gpu,
    page_harness,
    page_intervals,
    page_training,
)
from benchmarks.gpu import make_readme
from benchmarks.page_tables import heading, leaves, megabytes, rate, start_up, table

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "performance.md"

HEAD = """# Performance

Made by `benchmarks/make_performance_page.py` from `benchmarks/results/*.json` and `benchmarks/gpu/results/*.json`; do not edit. How each
was measured stands in [benchmarks/README.md](../benchmarks/README.md) and [benchmarks/gpu/README.md](../benchmarks/gpu/README.md).

Where a section says MB, they are millions of bytes of UTF-8 text, per second, on one core with every thread pool at 1. Each such figure is
the median of the repeats after a warm-up; reading files is in none of them. Peers ran in the same process, on the same documents or a
subset of them. The sections on loaders, shuffling and GPUs say how they differ from this.
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args()
    page = render(read_results(RESULTS), make_readme.read_results(make_readme.RESULTS))
    if arguments.check:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page else 1
    PAGE.write_text(page, encoding="utf-8")
    print(PAGE)
    return 0


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Results by file name without suffix, sorted."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }


def render(results: dict[str, dict[str, Any]], gpu: dict[str, dict[str, Any]]) -> str:
    """The whole page; ``gpu`` are the results measured on a GPU."""
    parts = [HEAD]
    for name, result in results.items():
        parts.append("\n".join(SECTIONS.get(name, any_section)(name, result)) + "\n")
    return "\n".join([*parts, "\n".join(page_gpu.gpu_section(gpu)) + "\n"])


def signals_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Language identification and Gopher measures."""
    gopher, language = result["gopher_quality"], result["language"]
    yield from heading("Signals", name, result)
    yield (
        f"{result['documents']:,} documents, {megabytes(result['bytes'])} of text, of which "
        "language identification looks at "
        f"{megabytes(result['looked_at_bytes'])} (the first 2,000 bytes of each). "
        f"{result['repeats']} repeats."
    )
    yield ""
    yield from table(
        ("what", "MB/s", "times the peer"),
        [
            (
                "Gopher quality, measures and rules",
                rate(gopher["ours_mb_per_s"]),
                f"{gopher['times_faster']:g}",
            ),
            (
                "datatrove `GopherQualityFilter`, words by `str.split`",
                rate(gopher["datatrove_whitespace_words_mb_per_s"]),
                "1",
            ),
            (
                "language, of bytes looked at",
                rate(language["ours_mb_per_s_looked_at"]),
                f"{language['times_faster']:g}",
            ),
            ("py3langid, of bytes looked at", rate(language["py3langid_mb_per_s_looked_at"]), "1"),
            ("language, of whole documents", rate(language["ours_mb_per_s_whole_documents"]), ""),
        ],
    )
    yield ""
    yield (
        f"Same verdict and reason as datatrove: {gopher['same_verdict_and_reason']:,} of "
        f"{result['documents']:,}. "
        f"Same language as py3langid: {language['same_label']:,} of {result['documents']:,}, "
        f"confidence at most {language['largest_difference_of_confidence']:.1e} apart."
    )
    yield from start_up(result)


def any_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """A benchmark without a section of its own: every figure it recorded."""
    yield from heading(name.replace("_", " ").capitalize(), name, result)
    figures = {key: value for key, value in result.items() if key not in ("benchmark", "machine")}
    yield from table(("figure", "value"), [(path, str(value)) for path, value in leaves(figures)])


SECTIONS: dict[str, Callable[[str, dict[str, Any]], Iterator[str]]] = {
    "signals": signals_section,
    "dedup_job": page_dedup.dedup_job_section,
    "dedup_signatures": page_dedup.dedup_section,
    "dedup_scale": page_dedup.scale_section,
    "dedup_substring": page_dedup.span_section,
    "dedup_index": page_dedup.index_section,
    "loader": page_training.loader_section,
    "loader_cold": page_training.loader_cold_section,
    "loader_start": page_training.loader_start_section,
    "shuffle_quality": page_training.shuffle_section,
    "decay_comparison": page_training.decay_section,
    "tiny_base": page_training.base_section,
    "intervals": page_intervals.intervals_section,
    "generation": page_generation.generation_section,
    "harness": page_harness.harness_section,
    "export_readers": page_export.readers_section,
}

if __name__ == "__main__":
    raise SystemExit(main())
