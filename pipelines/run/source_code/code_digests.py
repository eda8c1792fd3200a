"""Digests of what code says, wherever it lies.

The digest of a definition covers its own statements and, in place of every name of the house in
them, the digest of what that name means, and so on to the end. So it changes with any statement in
reach, and does not change when a definition moves to another module, a module gets another name, or
an import another alias::

    digests = CodeDigests(House(root, FLOORS), carriers={"artifacts.paths"})
    digests.digest([Definition("dedup.near.lsh", "flatten")])

What counts: statements, constants, defaults, decorators, base classes, and the annotations of a
class's fields, which decide what dataclasses and settings accept. What does not: comments,
docstrings, import statements, and other annotations, except that what they name is in reach, since
the methods of an object that is passed in are found by its annotation alone.
What only a run could tell is not seen: an attribute by a computed name, a value that one function
leaves for another at the top of a module.

A class enters whole. At a carrier (a module, or one definition ``module.name``) the walk stops; of
it only the name enters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipelines.run.source_code.code_text import CodeText, code_text
from pipelines.run.source_code.definitions import Definition, House

_UNKNOWN = bytes(20)  # stands for a digest within a circle of definitions, to begin with


class CodeDigests:
    """Digests of definitions of one house; every definition is looked at once."""

    def __init__(self, house: House, carriers: Collection[str] = ()) -> None:
        self.house = house
        self.carriers = frozenset(carriers)
        self.texts: dict[Definition, CodeText] = {}
        self.digests: dict[Definition, bytes] = {}

    def digest(self, roots: Sequence[Definition]) -> str:
        """One digest of several definitions and all they reach."""
        whole = hashlib.blake2b(digest_size=10)
        for root in roots:
            whole.update(self._digest(root))
        return whole.hexdigest()

    def reach(self, roots: Iterable[Definition]) -> set[Definition]:
        """All definitions that decide the digest of these, themselves included."""
        reached: set[Definition] = set()
        waiting = list(roots)
        while waiting:
            definition = waiting.pop()
            if definition not in reached:
                reached.add(definition)
                waiting += self.text(definition).reached
        return reached

    def text(self, definition: Definition) -> CodeText:
        if definition not in self.texts:
            self.texts[definition] = code_text(self.house, definition, self.carriers)
        return self.texts[definition]

    def _digest(self, root: Definition) -> bytes:
        if root not in self.digests:
            for circle in self._circles(root):
                self._close(circle)
        return self.digests[root]

    def _close(self, circle: Sequence[Definition]) -> None:
        """Digests of definitions that reach one another, all others in reach being known.

        In every round each takes in the digests that its neighbours had before; after as many
        rounds as there are members, each holds what all of them say.
        """
        known = dict.fromkeys(circle, _UNKNOWN)
        for _ in circle:
            known = {member: self._once(member, known) for member in circle}
        self.digests |= known

    def _once(self, definition: Definition, circle: dict[Definition, bytes]) -> bytes:
        text = self.text(definition)
        digest = hashlib.blake2b(text.text.encode(), digest_size=len(_UNKNOWN))
        for name in text.names:
            digest.update(circle.get(name) or self.digests[name])
        digest.update(b"\0")
        for inner in sorted(circle.get(name) or self.digests[name] for name in text.annotated):
            digest.update(inner)
        return digest.digest()

    def _circles(self, root: Definition) -> Iterator[list[Definition]]:
        """Definitions in reach whose digest is not known, in groups that reach one another; what a
        group reaches comes before it (Tarjan 1972).
        """
        index: dict[Definition, int] = {}
        lowest: dict[Definition, int] = {}
        open_: list[Definition] = []
        is_open: set[Definition] = set()
        path = [_Visit.of(root, self.text(root))]
        while path:
            visit = path[-1]
            here = visit.definition
            if here not in index:
                index[here] = lowest[here] = len(index)
                open_.append(here)
                is_open.add(here)
            following = next(visit.rest, None)
            if following is not None:
                if following in is_open:
                    lowest[here] = min(lowest[here], index[following])
                elif following not in index and following not in self.digests:
                    path.append(_Visit.of(following, self.text(following)))
                continue
            path.pop()
            if path:
                before = path[-1].definition
                lowest[before] = min(lowest[before], lowest[here])
            if lowest[here] == index[here]:
                circle = open_[open_.index(here) :]
                del open_[-len(circle) :]
                is_open -= set(circle)
                yield circle


@dataclass
class _Visit:
    """A definition on the path of the walk, and what it reaches and was not gone to yet."""

    definition: Definition
    rest: Iterator[Definition]

    @classmethod
    def of(cls, definition: Definition, text: CodeText) -> _Visit:
        return cls(definition, iter(text.reached))
