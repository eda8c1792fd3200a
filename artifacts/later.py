"""The mark of a setting that was added to settings in use (:mod:`artifacts.settings`)."""

from __future__ import annotations


class _Later:
    def __repr__(self) -> str:
        return "LATER"


LATER = _Later()
