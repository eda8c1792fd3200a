"""What two runs of the same recipe on the same inputs may differ in, and why: one table.

A file that no line here names is compared byte for byte, whatever it is. Paths are those below the
folder of a case, which holds run folders (``tiny/run.json``) or outputs of ``dedup run``, each with
its run folder (``jsonl/run/run.json``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

TIMES = "seconds and memory of a call"
PROCESS = "the process that holds the folder"
REPORT = "a page that shows times"
BOARD = "event files with times and the machine's name"
EXCHANGE = "exchange between tasks, on which no result rests"
SOURCE = "digest of the source code that ran, and the checksum over it"
CALL = "how much this call had to make"
STRETCHES = "stretches of a training made in one go"


@dataclass(frozen=True)
class Leaving:
    """Files by path, or (``fields``) values in JSON files, that are left out, and the reason.

    In ``path``, ``*`` is any name and ``**`` any folders, none too. A field's names are separated
    by dots; ``*`` is any name, or every place of a list. ``values_alone``: the order of names and
    the spacing of such a JSON file do not count either.
    """

    path: str
    reason: str
    fields: tuple[str, ...] = ()
    values_alone: bool = False

    def names(self, path: str) -> bool:
        return _pattern(self.path).fullmatch(path) is not None


BY_NATURE = (
    Leaving("**/.lock", PROCESS),
    Leaving("*/report.html", REPORT),
    Leaving("**/metrics/time.jsonl", TIMES),
    Leaving("**/tensorboard/**", BOARD),
    Leaving("*/work/**", EXCHANGE),
    Leaving("*/run/work/**", EXCHANGE),
    Leaving("**/run.json", TIMES, ("ledgers.*.seconds", "ledgers.*.peak_bytes", "checksum")),
    Leaving("**/ledgers/*.json", TIMES, ("seconds", "peak_bytes")),
    Leaving("**/ledger.json", TIMES, ("*.seconds", "*.peak_bytes")),
    Leaving("**/checkpoints/*/state.json", SOURCE, ("history.*.source_digest", "checksum")),
)

# of a second call over a finished folder, held against the first
ON_A_SECOND_CALL = (
    *BY_NATURE,
    # what a finished training came to is then read from a file in which names are sorted
    Leaving("**/run.json", CALL, ("ledgers.*.computed",), values_alone=True),
    Leaving("**/ledgers/*.json", CALL, ("computed",)),
    Leaving("**/ledger.json", CALL, ("*.computed",)),
)

# of a training that was stopped and resumed, held against one that was not
OF_A_RESUMED_TRAINING = (
    *ON_A_SECOND_CALL,
    Leaving("**/checkpoints/*/state.json", STRETCHES, ("history",), values_alone=True),
)


@cache
def _pattern(path: str) -> re.Pattern[str]:
    pieces = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    parts = re.split(r"(\*\*/|\*\*|\*)", path)
    return re.compile("".join(pieces.get(part, re.escape(part)) for part in parts))
