"""What a source says of its records, held against its files before a run begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.readers.base import InputFile
from pipelines.readers.formats import FORMATS
from pipelines.readers.span import Fields


def check_fields(files: Sequence[InputFile], fields: Fields) -> None:
    """Refuse fields that a source's files cannot have.

    The first file of each format is looked at; the others show when they are read.
    Raises: UserError.
    """
    for file in _first_of_each_format(files):
        FORMATS[file.format].check_fields(file.url, fields)


def check_records(files: Sequence[InputFile], fields: Fields) -> None:
    """Refuse fields that the first records of a source's files do not have, where records alone say
    which they have.

    The first file of each format that holds anything is looked at.
    Raises: UserError.
    """
    for file in _first_of_each_format([file for file in files if file.bytes]):
        FORMATS[file.format].check_records(file, fields)


def _first_of_each_format(files: Sequence[InputFile]) -> Iterable[InputFile]:
    return {file.format: file for file in reversed(files)}.values()
