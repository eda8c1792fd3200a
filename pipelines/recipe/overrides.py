"""Values given on the command line in place of a recipe's: ``--set a.b.c=value``."""

from __future__ import annotations

from typing import Any

from ruamel.yaml.error import MarkedYAMLError, YAMLError

from artifacts.errors import Address, Setting, UserError
from pipelines.recipe.bounded_yaml import MOST_NODES, TooManyValuesError, load_values


def apply_override(content: dict[str, Any], override: str) -> Address:
    """Set one field of a recipe's plain content; returns where.

    ``override`` is a dotted path, entries of lists by number, and a YAML value. Mappings on the way
    that are not there are made. Raises: UserError when it is not of this form, or leads into what
    holds no fields.
    """
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(
            "not an override",
            parameter="overrides",
            found=override,
            fix=("write ", Setting("overrides", "a.b.c=value")),
        )
    value = _value(path, text)
    node: Any = content
    location: list[str | int] = []
    parts = path.split(".")
    for position, part in enumerate(parts):
        key: Any = int(part) if isinstance(node, list) and part.isdecimal() else part
        if isinstance(node, list) and (not isinstance(key, int) or key >= len(node)):
            fix = (
                f"the list has entries 0 to {len(node) - 1}" if node else "the list has no entries"
            )
            raise UserError("no such entry", parameter=("overrides", path), found=part, fix=fix)
        location.append(key)
        if position == len(parts) - 1:
            node[key] = value
            break
        if isinstance(node, dict) and node.get(key) is None:
            node[key] = {}
        node = node[key]
        if not isinstance(node, dict | list):
            raise UserError(
                "not a mapping",
                parameter=("overrides", path),
                found=part,
                fix="only fields of mappings and entries of lists can be set",
            )
    return tuple(location)


def _value(path: str, text: str) -> Any:
    try:
        return load_values(text)
    except TooManyValuesError as error:
        raise UserError(
            "its aliases come to more values than a recipe has",
            parameter=("overrides", path),
            found=error,
            fix=f"give at most {MOST_NODES:,} values",
        ) from None
    except YAMLError as error:
        reason = error.problem if isinstance(error, MarkedYAMLError) else str(error).splitlines()[0]
        raise UserError(
            f"not valid YAML: {reason}",
            parameter=("overrides", path),
            found=text,
            fix="give a plain YAML value; lists and texts with : need their marks",
        ) from None
    except ValueError as error:  # an integer of thousands of digits, a date that is none
        raise UserError(
            f"not valid YAML: a value cannot be read: {error}",
            parameter=("overrides", path),
            fix="correct it, or write it in quotes",
        ) from None
    except RecursionError:
        raise UserError(
            "not valid YAML: nested too deeply", parameter=("overrides", path), found=text
        ) from None
