"""What the names in the house's sources mean, read from the text of the files; nothing is imported.

    house = House(root, ("artifacts", "dedup"))
    house.meaning("dedup.near.lsh", "np")         # Foreign("numpy")
    house.meaning("dedup.near.lsh", "as_words")   # Definition("artifacts.ids", "as_words")

A definition is everything at the top of a module that gives a name its value: a function, a class,
an assignment, and statements that change the value afterwards (``TABLE[3] = True``). Imports are no
definitions: they are followed to where the name is defined, through aliases and re-exports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Definition(NamedTuple):
    """A name at the top of one of the house's modules."""

    module: str
    name: str


@dataclass(frozen=True)
class ModuleName:
    """A module of the house."""

    name: str


@dataclass(frozen=True)
class Foreign:
    """Something of another package, by its full name."""

    name: str


Meaning = Definition | ModuleName | Foreign

Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True)
class Import:
    """One name that an import statement binds: to a module, or to ``attribute`` of it."""

    name: str
    module: str
    attribute: str | None


@dataclass
class ModuleNames:
    """The names at the top of a module: those imported, those imported for type checkers alone, and
    the statements behind all others.
    """

    imports: dict[str, Import] = field(default_factory=dict)
    type_imports: dict[str, Import] = field(default_factory=dict)
    statements: dict[str, list[ast.stmt]] = field(default_factory=dict)


class House:
    """The packages ``floors`` that lie in ``root``. Every file is read once."""

    def __init__(self, root: Path, floors: Sequence[str]) -> None:
        self.root = root
        self.floors = frozenset(floors)
        self._modules: dict[str, ModuleNames | None] = {}

    def module(self, name: str) -> ModuleNames | None:
        """The names of a module; None where there is no such module."""
        if name not in self._modules:
            path = self.root.joinpath(*name.split("."))
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            self._modules[name] = _module_names(path) if path.is_file() else None
        return self._modules[name]

    def statements(self, definition: Definition) -> list[ast.stmt]:
        """The statements of a definition, in order. Raises: KeyError where there is none."""
        names = self.module(definition.module)
        if names is None:
            raise KeyError(definition)
        return names.statements[definition.name]

    def meaning(self, module: str, name: str, for_types: bool = False) -> Meaning | None:
        """What a name means at the top of a module; None where the module does not know it.

        ``for_types``: imports that only type checkers see count too.
        """
        return self._meaning(module, name, for_types, frozenset())

    def attribute(self, meaning: ModuleName | Foreign, name: str) -> Meaning | None:
        """What ``name`` of a module means; None where a module of the house does not know it."""
        if isinstance(meaning, Foreign):
            return Foreign(f"{meaning.name}.{name}")
        return self._meaning(meaning.name, name, False, frozenset())

    def imported(self, found: Import) -> Meaning | None:
        """What an import binds its name to."""
        return self._imported(found, frozenset())

    def _meaning(
        self, module: str, name: str, for_types: bool, passed: frozenset[tuple[str, str]]
    ) -> Meaning | None:
        names = self.module(module)
        if names is None or (module, name) in passed:
            return None
        if name in names.statements:
            return Definition(module, name)
        found = names.imports.get(name)
        if found is None and for_types:
            found = names.type_imports.get(name)
        if found is not None:
            return self._imported(found, passed | {(module, name)})
        inner = f"{module}.{name}"
        return ModuleName(inner) if self.module(inner) is not None else None

    def _imported(self, found: Import, passed: frozenset[tuple[str, str]]) -> Meaning | None:
        if found.module.split(".")[0] not in self.floors:
            dotted = (
                found.module if found.attribute is None else f"{found.module}.{found.attribute}"
            )
            return Foreign(dotted)
        if found.attribute is None:
            return ModuleName(found.module)
        return self._meaning(found.module, found.attribute, False, passed)


def imports_of(statement: ast.Import | ast.ImportFrom) -> list[Import]:
    """The names an import statement binds. Relative imports are not known in this house."""
    if isinstance(statement, ast.ImportFrom):
        assert not statement.level, "relative import"
        module = statement.module or ""
        return [Import(one.asname or one.name, module, one.name) for one in statement.names]
    return [
        Import(one.asname, one.name, None)
        if one.asname
        else Import(one.name.split(".")[0], one.name.split(".")[0], None)
        for one in statement.names
    ]


def _module_names(path: Path) -> ModuleNames:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = ModuleNames()
    plain: list[ast.Import | ast.ImportFrom] = []
    others: list[ast.stmt] = []
    for statement in tree.body:
        if _tests_for(statement, "TYPE_CHECKING"):
            names.type_imports |= {found.name: found for found in _all_imports([statement])}
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            plain.append(statement)
        elif not _tests_for(statement, "__name__ == '__main__'"):
            others.append(statement)
    names.imports = {found.name: found for found in _all_imports(plain)}
    known = {name for name, _ in bindings(others)} | names.imports.keys()
    for statement in others:
        for name in _concerned(statement) & known:
            names.statements.setdefault(name, []).append(statement)
    for name in names.imports.keys() & names.statements.keys():
        # imported, and changed or bound anew: the import is one of the statements behind the name
        own = [one for one in plain if name in {found.name for found in imports_of(one)}]
        names.statements[name] = [*own, *names.statements[name]]
    return names


def _tests_for(statement: ast.stmt, condition: str) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) in {
        condition,
        f"typing.{condition}",
    }


def _all_imports(statements: Iterable[ast.stmt]) -> Iterator[Import]:
    for node in (node for statement in statements for node in ast.walk(statement)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports_of(node)


def _concerned(statement: ast.stmt) -> set[str]:
    """Names at the top of a module that a statement binds or whose value it changes."""
    if isinstance(statement, ast.AnnAssign) and statement.value is None:
        return set()
    names = {name for name, _ in bindings([statement])}
    for node in own_nodes([statement]):
        changed: ast.AST | None = None
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            changed = node.value
        elif isinstance(node, ast.Expr):  # a call for its effect, on whatever it mentions
            changed = node
        if changed is not None:
            names |= {inner.id for inner in ast.walk(changed) if isinstance(inner, ast.Name)}
    return names


def own_nodes(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All nodes of a scope, without the insides of functions, classes and lambdas in it."""
    for node in body:
        yield node
        if not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            yield from own_nodes(ast.iter_child_nodes(node))


def bindings(body: Iterable[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Every place where statements bind a name of their own scope: the name, and the node that
    does. Of a comprehension only ``:=`` does.
    """
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, Comprehension):
            for inner in ast.walk(node):
                if isinstance(inner, ast.NamedExpr) and isinstance(inner.target, ast.Name):
                    yield inner.target.id, inner
        elif not isinstance(node, ast.Lambda):
            yield from ((name, node) for name in _bound_by(node))
            yield from bindings(ast.iter_child_nodes(node))


def _bound_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return [node.id]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [found.name for found in imports_of(node)]
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        return [node.name]
    return [node.rest] if isinstance(node, ast.MatchMapping) and node.rest else []
