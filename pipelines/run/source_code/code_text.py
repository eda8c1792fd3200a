"""What one definition says, written so that equal code gives equal text wherever it lies.

The text is the syntax tree of its statements without comments and docstrings. A name of the house
is a blank in it, listed beside it with what it means; a name of another package is spelled in full,
whatever it was imported as; a local name stays.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pipelines.run.source_code.definitions import (
    Comprehension,
    Definition,
    Foreign,
    Function,
    House,
    Import,
    Meaning,
    ModuleName,
    bindings,
    imports_of,
    own_nodes,
)

BLANK = "\0"
_BODIES = frozenset({"body", "orelse", "finalbody"})
_SAY_NOTHING = frozenset({"ctx", "kind", "simple", "type_comment", "type_ignores"})


@dataclass(frozen=True)
class CodeText:
    """``names`` fill the blanks of ``text``, in order; ``annotated`` are named by annotations
    alone.
    """

    text: str
    names: tuple[Definition, ...]
    annotated: frozenset[Definition]

    @cached_property
    def reached(self) -> tuple[Definition, ...]:
        return (*dict.fromkeys(self.names), *sorted(self.annotated))


def code_text(house: House, definition: Definition, carriers: Collection[str]) -> CodeText:
    """What a definition says. Raises: KeyError where it does not exist."""
    writer = _Writer(house, definition.module, carriers)
    writer.parts.append(f"{definition.name}:")
    writer.statements(house.statements(definition))
    return CodeText(
        "".join(writer.parts), tuple(writer.names), frozenset(writer.annotated - {*writer.names})
    )


@dataclass
class _Scope:
    """Names of a function, class or comprehension. ``imports``: bound by one import and nothing
    else; ``top``: declared global.
    """

    names: set[str]
    imports: dict[str, Import] = field(default_factory=dict)
    top: frozenset[str] = frozenset()
    is_class: bool = False

    @classmethod
    def of(
        cls, body: Sequence[ast.AST], arguments: Iterable[str] = (), is_class: bool = False
    ) -> _Scope:
        bound = [*((name, None) for name in arguments), *bindings(body)]
        times = Counter(name for name, _ in bound)
        imports = {
            found.name: found
            for _, node in bound
            if isinstance(node, ast.Import | ast.ImportFrom)
            for found in imports_of(node)
            if times[found.name] == 1
        }
        declared = [node for node in own_nodes(body) if isinstance(node, ast.Global)]
        top = frozenset(name for node in declared for name in node.names)
        return cls(set(times), imports, top, is_class)


class _Writer:
    """Writes the text of one definition."""

    def __init__(self, house: House, module: str, carriers: Collection[str]) -> None:
        self.house, self.module, self.carriers = house, module, carriers
        self.parts: list[str] = []
        self.names: list[Definition] = []
        self.annotated: set[Definition] = set()
        self.scopes: list[_Scope] = []
        self.in_annotation = False

    # -- nodes ------------------------------------------------------------------------------------

    def statements(self, body: Sequence[ast.stmt]) -> None:
        for statement in _that_do_something(body):
            self.node(statement)

    def node(self, node: ast.AST | None) -> None:
        meaning = self._meaning(node)
        if meaning is not None:
            self._write_meaning(meaning)
        elif isinstance(node, ast.Name):
            self.parts.append(f"'{node.id}'")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            self._import(node)
        elif isinstance(node, Function | ast.Lambda):
            self._function(node)
        elif isinstance(node, ast.ClassDef):
            self._class(node)
        elif isinstance(node, Comprehension):
            self._comprehension(node)
        elif isinstance(node, ast.AnnAssign):
            self._annotated(node)
        elif isinstance(node, ast.arg):
            self.parts.append(f"arg'{node.arg}'")
            self._annotation(node.annotation)
        else:
            self._fields(node)

    def _fields(self, node: ast.AST | None, without: Collection[str] = ()) -> None:
        """A node by its type and all its fields that say something, the same in every Python."""
        self.parts.append(f"{type(node).__name__}(")
        for name, value in ast.iter_fields(node) if node is not None else ():
            if name in _SAY_NOTHING or name in without:
                continue
            if name == "keywords" and isinstance(node, ast.Call):
                value = self._deciding(node)
            if name in _BODIES and isinstance(value, list):
                value = _that_do_something(value)
            if isinstance(node, ast.Constant):
                self.parts.append(repr(value))
            elif value is not None and value != []:
                self.parts.append(f"{name}=")
                self._value(value)
                self.parts.append(",")
        self.parts.append(")")

    def _deciding(self, call: ast.Call) -> list[ast.keyword]:
        """A call's keyword arguments without the help text of a settings field."""
        if self._meaning(call.func) != Foreign("pydantic.Field"):
            return call.keywords
        return [keyword for keyword in call.keywords if keyword.arg != "description"]

    def _value(self, value: Any) -> None:
        if isinstance(value, list):
            self.parts.append("[")
            for item in value:
                self._value(item)
                self.parts.append(",")
            self.parts.append("]")
        elif isinstance(value, ast.AST) or value is None:
            self.node(value)
        else:
            self.parts.append(repr(value))

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        arguments = node.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        named += [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
        self._fields(node, without=("body", "returns"))  # what the scope around evaluates
        body: Sequence[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else node.body
        if not isinstance(node, ast.Lambda):
            self._annotation(node.returns)
        with self._inside(_Scope.of(body, [argument.arg for argument in named])):
            for inner in _that_do_something(body):
                self.node(inner)
        self.parts.append("end")

    def _class(self, node: ast.ClassDef) -> None:
        self._fields(node, without=("body",))
        with self._inside(_Scope.of(node.body, is_class=True)):
            self.statements(node.body)
        self.parts.append("end")

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    ) -> None:
        self.node(node.generators[0].iter)  # evaluated by the scope around
        with self._inside(_Scope.of([one.target for one in node.generators])):
            self._fields(node, without=("generators",))
            for number, generator in enumerate(node.generators):
                self._fields(generator, without=() if number else ("iter",))

    def _annotated(self, node: ast.AnnAssign) -> None:
        """Of a class's field the annotation counts; elsewhere it is nothing but an assignment."""
        if self.scopes and self.scopes[-1].is_class:
            self.in_annotation = True
            self._fields(node, without=("value",))
            self.in_annotation = False
            self.node(node.value)
        elif node.value is not None:
            self._fields(ast.Assign([node.target], node.value))
        self._annotation(node.annotation)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        """An import that is one of several ways to bind a local name; others leave no trace."""
        for found in imports_of(node):
            if self.scopes and found.name in self.scopes[-1].imports:
                continue
            self.parts.append(f"import'{found.name}'")
            meaning = self.house.imported(found)
            if meaning is not None:
                self._write_meaning(meaning)

    # -- names ------------------------------------------------------------------------------------

    def _meaning(self, node: ast.AST | None) -> Meaning | None:
        """What a name or a dotted name means outside the scopes around it; None for all else."""
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            return self._meaning_of_name(node.id)
        if isinstance(node, ast.Attribute):
            whole = self._meaning(node.value)
            if isinstance(whole, ModuleName | Foreign):
                return self.house.attribute(whole, node.attr)
        return None

    def _meaning_of_name(self, name: str) -> Meaning | None:
        for scope in reversed(self.scopes):
            if name in scope.top:
                break
            if scope.is_class and scope is not self.scopes[-1]:
                continue
            if name in scope.imports:
                return self.house.imported(scope.imports[name])
            if name in scope.names:
                return None
        return self.house.meaning(self.module, name, self.in_annotation)

    def _write_meaning(self, meaning: Meaning) -> None:
        if isinstance(meaning, Foreign):
            self.parts.append(meaning.name)
        elif isinstance(meaning, Definition):
            if self._is_carried(meaning):
                self.parts.append(f"carrier'{meaning.name}'")
            else:
                self.parts.append(BLANK)
                self.names.append(meaning)
        else:
            self._write_module(meaning)

    def _write_module(self, module: ModuleName) -> None:
        """A module as a value: all that it defines or hands on may be asked of it."""
        names = self.house.module(module.name)
        self.parts.append("module(")
        if names is not None and module.name not in self.carriers:
            for name in sorted({*names.statements, *names.imports}):
                meaning = self.house.attribute(module, name)
                if isinstance(meaning, Definition):
                    self.parts.append(f"{name}=")
                    self._write_meaning(meaning)
        self.parts.append(")")

    def _is_carried(self, meaning: Definition) -> bool:
        return (
            meaning.module in self.carriers or f"{meaning.module}.{meaning.name}" in self.carriers
        )

    def _annotation(self, node: ast.AST | None) -> None:
        """Notes the definitions that an annotation names, quoted ones too."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node = _quoted(node.value)
        if node is None or _is_literal(node):
            return
        self.in_annotation = True
        meaning = self._meaning(node)
        self.in_annotation = False
        if isinstance(meaning, Definition) and not self._is_carried(meaning):
            self.annotated.add(meaning)
        for inner in ast.iter_child_nodes(node):
            self._annotation(inner)

    @contextmanager
    def _inside(self, scope: _Scope) -> Iterator[None]:
        self.scopes.append(scope)
        yield
        self.scopes.pop()


def _that_do_something(body: Sequence[Any]) -> list[Any]:
    """Statements without docstrings, other lone strings, and ``pass``."""
    return [
        statement
        for statement in body
        if not isinstance(statement, ast.Pass)
        and not (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
        )
    ]


def _quoted(annotation: str) -> ast.AST | None:
    try:
        return ast.parse(annotation, mode="eval").body
    except SyntaxError:  # a string that is no annotation, as in Annotated[int, "words in it"]
        return None


def _is_literal(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("Literal")
