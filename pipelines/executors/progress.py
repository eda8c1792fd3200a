"""What a run tells whoever watches: phases that start, advance and end."""

from __future__ import annotations

from typing import Protocol

from artifacts.ledger import Ledger


class Progress(Protocol):
    """Receives a run's progress. Implementations print, draw, or ignore."""

    def phase(self, title: str, tasks: int, found: int, size: int) -> None:
        """A phase begins: ``tasks`` in all, of which ``found`` need no work; ``size`` bytes to
        do.
        """

    def advance(self, tasks: int, size: int) -> None:
        """Tasks ended, that many bytes further."""

    def stands(self, text: str) -> None:
        """How the running phase stands now, facts separated by commas; takes the place of what was
        said before.
        """

    def end(self, ledgers: list[Ledger]) -> None:
        """The phase ended; these steps were completed by it."""

    def note(self, text: str) -> None:
        """Something worth a line."""


class Silent:
    """A progress that says nothing."""

    def phase(self, title: str, tasks: int, found: int, size: int) -> None: ...

    def advance(self, tasks: int, size: int) -> None: ...

    def stands(self, text: str) -> None: ...

    def end(self, ledgers: list[Ledger]) -> None: ...

    def note(self, text: str) -> None: ...
