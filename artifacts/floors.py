"""The floors of the house, lowest first: its top packages. A floor imports only those below it."""

from __future__ import annotations

FLOORS = ("artifacts", "dedup", "tokenizer", "mixtures", "trainer", "pipelines")
