"""The trials of a search as a journal of Optuna's, which its dashboard and people's tools open.

    storage = JournalStorage(JournalFileBackend("optuna.journal"))
    study = optuna.load_study(study_name="search", storage=storage)

The same trials give the same bytes: times stand at zero, and one worker wrote all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from trainer.experiments.designs.search.space import Space
from trainer.experiments.designs.search.trials import Trial, alone, study_of

FILE = "optuna.journal"
STUDY = "search"


class _Logs:
    """A journal in memory, as ``optuna.storages.journal.BaseJournalBackend`` asks for it."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.logs += json.loads(json.dumps(logs))


def journal(space: Space, trials: Sequence[Trial]) -> bytes:
    """The file, a line for each thing that was done."""
    logs: Any = _Logs()
    with alone():
        from optuna.storages import JournalStorage

        study_of(space, trials, study_name=STUDY, storage=JournalStorage(logs))
    lines = [
        json.dumps({**log, "worker_id": "windtunnel"}, separators=(",", ":")) for log in logs.logs
    ]
    return "".join(f"{line}\n" for line in lines).encode()
