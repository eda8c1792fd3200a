"""Two checkouts of this project over the same inputs: do they write the same bytes?

    python benchmarks/same_bytes.py --old CHECKOUT_OR_COMMIT [--new .] [--only CASE…]
        [--skip CASE…] [--no-resume] [--keep DIR] [--report FILE.json]

For changes that must not change an output: every case is run by the old and by the new checkout,
one after the other, with the same interpreter, environment, inputs and folder, and every file is
compared byte for byte. Then (``--resume``, on by default) the new checkout goes on where the old
one stopped: it runs recipes over the old one's finished folders and has to compute nothing, ends a
training that was stopped midway, and adds a batch to an index. Exit code 1 when anything differs.

What differs by nature, such as seconds and process ids, is left out, by one table with reasons:
``byte_comparison/left_out.py``. A commit is checked out into a temporary folder. Nothing is written
into a checkout.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from byte_comparison.cases import CASES, Case
from byte_comparison.checkouts import CallFailedError, Work, checkout
from byte_comparison.content_keys import moved_units
from byte_comparison.going_on import GOING_ON, Held, Pair, compare_case
from byte_comparison.inputs import lay_out
from byte_comparison.trees import Compared, Difference

ROOT = Path(__file__).resolve().parent.parent
DIFFERENCES_SHOWN = 8
NAMES = [case.name for case in CASES]


@dataclass
class Result:
    """One line of the table."""

    name: str
    compared: Compared = field(default_factory=Compared)
    keys: list[str] = field(default_factory=list)
    failed: str | None = None
    seconds: float = 0.0

    @property
    def same(self) -> bool:
        return self.failed is None and not self.compared.differences

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.name,
            "same": self.same,
            "files": self.compared.files,
            "bytes": self.compared.bytes,
            "different": [vars(difference) for difference in self.compared.differences],
            "keys": self.keys,
            "failed": self.failed,
            "left_out": dict(self.compared.left_out),
            "fields_left_out": dict(self.compared.fields_left_out),
            "seconds": round(self.seconds, 1),
        }


def main() -> None:
    arguments = parse()
    with (
        folder_to_work_in(arguments.keep) as root,
        checkout("old", arguments.old, ROOT, root) as old,
        checkout("new", arguments.new, ROOT, root) as new,
    ):
        sides = {"old": old.described(), "new": new.described()}
        print(f"old {sides['old']}, new {sides['new']}", flush=True)
        work = Work(root)
        lay_out(work.inputs, old.folder)
        chosen = [
            case
            for case in CASES
            if case.name in arguments.only and case.name not in arguments.skip
        ]
        results = compare_all(Pair(old, new, work), chosen, arguments.resume)
    print(f"\n{table(results)}")
    if arguments.report is not None:
        report = {**sides, "same": all(one.same for one in results)}
        content = {**report, "cases": [one.to_json() for one in results]}
        arguments.report.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    sys.exit(0 if all(result.same for result in results) else 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--old", required=True, help="folder of a checkout, or a commit")
    parser.add_argument("--new", default=".", help="folder of a checkout, or a commit; default: .")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="CASE",
                        help=f"cases to run: {', '.join(NAMES)}; default: all")  # fmt: skip
    parser.add_argument("--skip", nargs="+", choices=NAMES, default=[], metavar="CASE")
    parser.add_argument("--resume", action=argparse.BooleanOptionalAction, default=True,
                        help="let the new checkout go on with folders of the old one")  # fmt: skip
    parser.add_argument(
        "--keep", type=Path, help="empty folder to work in, and to leave as it is then"
    )
    parser.add_argument("--report", type=Path, help="JSON file for the result")
    arguments = parser.parse_args()
    if set(arguments.only) <= set(arguments.skip):
        parser.error("no case is left")
    return arguments


@contextmanager
def folder_to_work_in(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="same-bytes-") as folder:
            yield Path(folder)
        return
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise SystemExit(f"--keep {keep}: not empty")
    yield keep.resolve()


def compare_all(pair: Pair, cases: list[Case], resume: bool) -> list[Result]:
    """Every case, then what goes on with the old folders of those that the old checkout ended."""
    results = [measured(case.name, partial(compare_case, pair, case)) for case in cases]
    ended = {
        case.name: case for case, result in zip(cases, results, strict=True) if not result.failed
    }
    for name, needed, go_on in GOING_ON if resume else ():
        if needed in ended:
            results.append(measured(name, partial(go_on, pair, ended[needed])))
    return results


def measured(name: str, compare: Callable[[], Held]) -> Result:
    """One comparison; a command that fails is a result too."""
    print(f"{name} ...", flush=True)
    result, began = Result(name), time.monotonic()
    try:
        held = compare()
        result.compared = held.compared
        result.keys = moved_units(held.old, held.new, held.compared.differences)
    except CallFailedError as error:
        result.failed = str(error)
    result.seconds = time.monotonic() - began
    print(f"{name}: {verdict(result)} ({result.seconds:.0f} s)", flush=True)
    return result


def verdict(result: Result) -> str:
    if result.failed:
        return "FAILED"
    differences = len(result.compared.differences)
    return f"{differences} files DIFFER" if differences else "the same"


def table(results: list[Result]) -> str:
    """What was compared, what was left out and why, and the first differences of each case."""
    lines = [f"{'case':<20} {'files':>7} {'bytes':>14} {'different':>10}  left out"]
    for result in results:
        compared = result.compared
        different = "failed" if result.failed else f"{len(compared.differences):,}"
        files, fields = (
            sum(reasons.values()) for reasons in (compared.left_out, compared.fields_left_out)
        )
        lines.append(
            f"{result.name:<20} {compared.files:>7,} {compared.bytes:>14,} {different:>10}  "
            f"{files:,} files, fields of {fields:,}"
        )
    total = Compared()
    for result in results:
        total.add(result.compared)
    lines += ["", "left out:"]
    lines += [f"  {count:>6,} files: {reason}" for reason, count in sorted(total.left_out.items())]
    lines += [
        f"  fields of {count:>6,} files: {reason}"
        for reason, count in sorted(total.fields_left_out.items())
    ]
    for result in results:
        lines += detail(result)
    return "\n".join(lines)


def detail(result: Result) -> list[str]:
    """The first differences of a case, and what moved content keys."""
    differences = result.compared.differences
    if result.failed:
        return ["", f"{result.name}: {result.failed}"]
    if not differences:
        return []
    lines = ["", f"{result.name}: {len(differences):,} files differ"]
    lines += [f"  key   {line}" for line in result.keys[:DIFFERENCES_SHOWN]]
    first = sorted(differences, key=Difference.rank)[:DIFFERENCES_SHOWN]
    lines += [f"  file  {difference}" for difference in first]
    return lines


if __name__ == "__main__":
    main()
