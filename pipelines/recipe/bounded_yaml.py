"""YAML of other people as plain values, no more of them than a recipe has.

An alias stands for a whole tree, and a merge key (``<<``) copies one. A few lines of either write
out to more than a memory holds, so what a document comes to is counted before it is made.
"""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node

MOST_NODES = 100_000  # of a document, aliases and merge keys written out


class TooManyValuesError(Exception):
    """A document whose aliases come to more values than :data:`MOST_NODES`."""


def load_values(text: str) -> Any:
    """The values of a document, of YAML's own types.

    Raises: TooManyValuesError, and what ruamel raises: YAMLError, ValueError for a value that
    cannot be read, RecursionError for deep nesting and an alias inside its own anchor.
    """
    reader = YAML(typ="safe")
    reader.Constructor = _BoundedConstructor
    return reader.load(text)


class _BoundedConstructor(SafeConstructor):
    def construct_document(self, node: Node) -> Any:
        _nodes(node, {})
        return super().construct_document(node)


def _nodes(node: Node, known: dict[int, int]) -> int:
    """How many values a tree has when everything is written out; ``known``: of its collections."""
    if not isinstance(node, CollectionNode):
        return 1
    if id(node) not in known:
        entries = node.value
        if isinstance(node, MappingNode):
            entries = [part for pair in node.value for part in pair]
        count = 1 + sum(_nodes(entry, known) for entry in entries)
        if count > MOST_NODES:
            raise TooManyValuesError(f"{count:,} values, or more")
        known[id(node)] = count
    return known[id(node)]
