"""YAML with line numbers: every field of a recipe knows where it stands in the file, or on the
command line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from artifacts.commands import Command
from artifacts.errors import Address, Place, Setting, UserError, is_parameter
from pipelines.recipe.bounded_yaml import MOST_NODES, TooManyValuesError, load_values
from pipelines.recipe.overrides import apply_override

LARGEST_RECIPE = 4 << 20
LARGEST_BITS = 1024  # of an integer, as of the largest double


class YamlFile:
    """A parsed YAML mapping, values given on the command line put in, and the lines its fields
    stand on.

    ``overrides`` are ``a.b.c=value`` with YAML values. Values are those of YAML's own types; tags
    of other languages are refused, and so are numbers that are not finite.
    Raises: UserError for a file that cannot be read or holds no such mapping.
    """

    documented: str | None = "see docs/recipes.md for what this field takes"

    def __init__(self, path: Path, overrides: Sequence[str] = ()) -> None:
        self.path = path
        self._overrides: list[tuple[Address, str]] = []
        text = _read(path)
        try:
            values = load_values(text)
            self._tree = YAML(typ="rt").load(text)  # the same with line numbers
            self._content = _plain(values)
        except TooManyValuesError as error:
            raise UserError(
                "its aliases come to more values than a recipe has",
                file=path,
                found=error,
                fix=f"write at most {MOST_NODES:,} values",
            ) from None
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = None if mark is None else mark.line + 1
            raise self._not_yaml(
                str(error.problem), line, "look at the indentation and the punctuation of this line"
            ) from error
        except YAMLError as error:  # a character YAML does not have
            raise self._not_yaml(
                str(error).splitlines()[0], None, "remove the character, or save the file as text"
            ) from error
        except ValueError as error:  # an integer of thousands of digits, a date that is none
            raise self._not_yaml(
                f"a value cannot be read: {error}", None, "correct it, or write it in quotes"
            ) from error
        except RecursionError as error:
            raise self._not_yaml(
                "nested too deeply",
                None,
                "write it with fewer levels, and without an alias inside its own anchor",
            ) from error
        if not isinstance(self._tree, CommentedMap) or not isinstance(self._content, dict):
            raise UserError(
                "a recipe is a mapping of fields",
                file=path,
                line=1,
                found=type(values).__name__,
                fix="start with name:, corpus:, …",
            )
        for override in overrides:
            self._overrides.append((apply_override(self._content, override), override))
        self._refuse_unusual(self._content, ())

    def plain(self) -> dict[str, Any]:
        """The content as plain dicts and lists."""
        plain: dict[str, Any] = _plain(self._content)
        return plain

    def line(self, location: Sequence[str | int]) -> int | None:
        """Line (1-based) of the field at a location, or of the nearest ancestor that has one; None
        for one given in place of the file's.
        """
        if self.override(location) is not None:
            return None
        node: Any = self._tree
        line = 1
        for part in location:
            if isinstance(node, CommentedMap) and part in node:
                line = node.lc.key(part)[0] + 1
                node = node[part]
            elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
                line = node.lc.item(part)[0] + 1
                node = node[part]
            else:
                break
        return line

    def override(self, location: Sequence[str | int]) -> str | None:
        """The override that gave the value at a location, if one did."""
        given = [text for place, text in self._overrides if tuple(location[: len(place)]) == place]
        return given[-1] if given else None

    def place(self, address: Address) -> Place:
        """Where the file holds what an address speaks of: its line, or the override that gave it.

        Entries of lists go by number, or by the name they have.
        """
        if is_parameter(address):
            return Place(address)
        location = self._location(address)
        override = self.override(location)
        note = () if override is None else ("given with ", Setting("overrides", override))
        return Place(address, str(self.path), self.line(location), note)

    def error(self, address: Address, message: str, **facts: Any) -> UserError:
        """An error about the value at an address, placed. Facts are UserError's."""
        return UserError(message, field=address, **facts).relocated(self.place)

    def _location(self, address: Address) -> Address:
        """The part of an address that is there, entries of lists by number."""
        location: list[str | int] = []
        node: Any = self._content
        for part in address:
            if isinstance(node, list):
                number = part if isinstance(part, int) else _named(node, part)
                if number is None or number >= len(node):
                    break
                location.append(number)
                node = node[number]
            elif isinstance(node, dict) and part in node:
                location.append(part)
                node = node[part]
            else:
                break
        return tuple(location)

    def _not_yaml(self, problem: str, line: int | None, fix: str) -> UserError:
        return UserError(f"not valid YAML: {problem}", file=self.path, line=line, fix=fix)

    def _refuse_unusual(self, node: Any, location: Address) -> None:
        if isinstance(node, float) and not math.isfinite(node):
            raise self.error(location, "not a finite number", found=node, fix="give a number")
        if isinstance(node, int) and node.bit_length() > LARGEST_BITS:
            digits = f"{node.bit_length()} bits"
            raise self.error(location, "too large a number", found=digits, fix="give a smaller one")
        if isinstance(node, str) and _surrogate(node) is not None:
            found = f"U+{_surrogate(node):04X} alone"
            raise self.error(location, "not valid Unicode text", found=found, fix="remove it")
        entries = (
            node.items()
            if isinstance(node, dict)
            else enumerate(node)
            if isinstance(node, list)
            else ()
        )
        for key, value in entries:
            self._refuse_unusual(key, location)
            self._refuse_unusual(value, (*location, key))


class GivenValues(YamlFile):
    """A mapping that a program made, in the place of a file: its errors name fields, and neither
    file nor line.

    ``folder`` is where relative paths start. Raises: UserError for a number that is not finite.
    """

    documented = None  # the program's own documentation says what its values take

    def __init__(self, values: dict[str, Any], folder: Path) -> None:
        self.path = folder / "options"
        self._overrides = []
        self._tree = CommentedMap()
        self._content = _plain(values)
        self._refuse_unusual(self._content, ())

    def line(self, location: Sequence[str | int]) -> int | None:
        """None: there are no lines."""
        return None

    def place(self, address: Address) -> Place:
        """The address alone: there is no file."""
        return Place(address)


def _surrogate(text: str) -> int | None:
    """The first surrogate that stands alone, which no file and no terminal can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return ord(text[error.start])
    return None


def _named(entries: list[Any], name: str) -> int | None:
    """The number of the first entry of this name."""
    return next(
        (
            number
            for number, entry in enumerate(entries)
            if isinstance(entry, dict) and entry.get("name") == name
        ),
        None,
    )


def _read(path: Path) -> str:
    """The text of a recipe. Raises: UserError."""
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise UserError(
                "this is a folder, not a recipe",
                file=path,
                allowed=_recipes(path),
                fix="name the YAML file in it",
            )
        if not path.is_file():
            raise UserError("this is not a file", file=path, fix="name a YAML file")
        if size > LARGEST_RECIPE:
            raise UserError(
                "too large for a recipe",
                file=path,
                found=f"{size} bytes",
                fix=f"a recipe has at most {LARGEST_RECIPE} bytes",
            )
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        near = _recipes(path.parent)
        raise UserError(
            "no such file",
            file=path,
            found=str(path),
            allowed=near,
            fix=(Command("init"), " writes a recipe to start from"),
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            "not UTF-8", file=path, found=f"byte {error.start}", fix="save the file as UTF-8"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot be read: {error.strerror or error}",
            file=path,
            fix="give this user read access",
        ) from error


def _recipes(folder: Path) -> list[str] | None:
    return (
        [str(path) for path in sorted(folder.glob("*.y*ml"))] or None if folder.is_dir() else None
    )


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    if isinstance(node, bool | int | float) or node is None:
        return node
    return str(node)
