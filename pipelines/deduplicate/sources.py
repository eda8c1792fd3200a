"""Files given on a command line as sources: each folder one, under a name made of it, its fields
tried on the first records.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from artifacts.errors import Parameter, UserError
from artifacts.paths import Store
from pipelines.readers import AUTO, Fields, InputFile, discover
from pipelines.readers.parquet.conversations import NotTextsError
from pipelines.readers.source_fields import check_fields, check_records


def check_format(format: str, formats: Sequence[str]) -> None:
    """Refuse a format that kept documents cannot be written in. Raises: UserError."""
    if format not in formats:
        raise UserError(
            "no such format to write",
            parameter="format",
            found=format,
            allowed=formats,
            fix="use one of the formats above",
        )


def output_store(output: str) -> Store:
    """The output folder, tried by a write. Raises: UserError."""
    if not output.strip():
        raise UserError(
            "no folder to write into",
            parameter="output",
            found=repr(output),
            fix="name a folder or a store",
        )
    store = Store(output.rstrip("/") or "/")
    try:
        with store.probe():
            return store
    except UserError as error:
        raise error.relocated(lambda address: (Parameter("output"),)) from None


def named_sources(
    paths: Sequence[str], fields: Fields, output: Store | None, written: Sequence[str]
) -> dict[str, list[str]]:
    """Paths by the folder they start from, under a name made of it, in the order given.

    ``written``: folders in ``output`` that are written to, whose files are no input. Raises:
    UserError.
    """
    if not paths:
        raise UserError("no files to deduplicate", parameter="paths", fix="name files or globs")
    by_root: dict[str, list[str]] = {}
    root_of: dict[str, str] = {}
    for pattern in paths:
        files = _found(pattern)
        for file in files:
            root = file.url[: len(file.url) - len(file.path)]
            if root_of.setdefault(file.url, root) != root:
                fix = "leave one of them out: a file would be a copy of itself"
                raise UserError(
                    "two of the paths lead to this file",
                    file=file.url,
                    parameter="paths",
                    found=pattern,
                    fix=fix,
                )
            if output is not None and file.url.startswith(
                tuple(f"{output.base.rstrip('/')}/{folder}/" for folder in written)
            ):
                fix = "choose another output folder, or paths that leave it out"
                raise UserError(
                    "this file lies in the output folder",
                    file=file.url,
                    parameter="paths",
                    found=pattern,
                    fix=fix,
                )
            if pattern not in by_root.setdefault(root, []):
                by_root[root].append(pattern)
        _check_records(files, fields)
    named: dict[str, list[str]] = {}
    for root, patterns in by_root.items():
        named[_name_of(root, named)] = patterns
    return named


def _found(pattern: str) -> list[InputFile]:
    """The files of one path or glob. Raises: UserError."""
    try:
        return discover(None, [pattern], AUTO)
    except UserError as error:
        ours = error.relocated(lambda address: (Parameter("paths"),))
        if error.address == ("format",):  # no parameter says how to read a file
            fix = "give the file a suffix that tells its format, or run a recipe that declares it"
            ours = ours.changed(fix=fix)
        raise ours from None


def _name_of(root: str, taken: dict[str, list[str]]) -> str:
    """A source's name for a folder: its last part, numbered where another has it."""
    plain = (
        re.sub(r"[^A-Za-z0-9._-]+", "-", root.rstrip("/").rsplit("/", 1)[-1]).strip("-._")[:80]
        or "files"
    )
    number = 1
    while (name := plain if number == 1 else f"{plain}-{number}") in taken:
        number += 1
    return name


def _check_records(files: Sequence[InputFile], fields: Fields) -> None:
    """Refuse fields that the first records do not have. Raises: UserError naming those they
    have.
    """
    try:
        check_fields(files, fields)
    except UserError as error:
        named = {fields.text_field: "text_field", str(fields.id_field): "id_field"}
        fix = "name a column that is there"
        if isinstance(error, NotTextsError):
            fix = "run a recipe whose source has a messages_field"
        raise error.relocated(
            lambda address: tuple(Parameter(named.get(str(part), part)) for part in address)
        ).changed(fix=fix) from None
    try:
        check_records(files, fields)
    except UserError as error:
        raise error.relocated(lambda address: tuple(Parameter(part) for part in address)) from None
