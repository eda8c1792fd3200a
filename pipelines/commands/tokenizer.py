"""Commands around tokenizers: windtunnel tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.options import Json, Runs, print_json, said_of_options
from pipelines.commands.terminal.shown import ShownConsole

if TYPE_CHECKING:
    from pipelines.run.export_tokenizer import ExportedTokenizer
    from tokenizer.huggingface.compare import Comparison, Counts

tokenizer_app = typer.Typer(no_args_is_help=True, help="Take a tokenizer to other programs.")


@tokenizer_app.callback()
def tokenizer_group() -> None:
    """A group with a single command keeps the command's name."""


@tokenizer_app.command("export")
@said_of_options()
def export_command(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|RUN",
            help="a .model file, a checkpoint's folder, or a run: its name or folder",
        ),
    ],
    output: Annotated[
        str,
        typer.Argument(
            metavar="DIR", help="folder to write, new, empty or of an earlier export; or a URL"
        ),
    ],
    check: Annotated[
        list[str] | None,
        typer.Option(
            "--check",
            help="compare the ids over this file or glob, records or lines; may be repeated",
        ),
    ] = None,
    text_field: Annotated[
        str, typer.Option(help="field of the records to check that holds their text")
    ] = "text",
    runs: Runs = "runs",
    as_json: Json = False,
) -> None:
    """Write a tokenizer for Hugging Face's libraries, with the same ids and the chat format; exit
    code 1 when --check finds other ids than those that a spelled control piece explains.
    """
    from pipelines.run.export_tokenizer import export_tokenizer

    done = export_tokenizer(target, output, runs=runs, check=check or (), text_field=text_field)
    if as_json:
        print_json(done.to_json())
    else:
        lines = "\n".join(exported_lines(done))
        ShownConsole().print(lines, markup=False, highlight=False, soft_wrap=True)
    raise SystemExit(0 if done.sound else 1)


def exported_lines(done: ExportedTokenizer) -> list[str]:
    """What was written, what to know of it, and what was found."""
    chat = (
        "a template is among them"
        if done.chat
        else "no template: the tokenizer has no marks, or came without one"
    )
    lines = [f"tokenizer {done.hash}, {done.vocab_size:,} pieces"]
    lines += [f"written   {file}" for file in done.files]
    lines.append(f"chat      {chat}")
    if done.check is None:
        return [*lines, "check     not asked for (--check FILE compares ids over your texts)"]
    return [*lines, *check_lines(done.check, done.unreadable)]


def check_lines(check: Comparison, unreadable: int) -> list[str]:
    """What a comparison found: counts, the first differences, a word on spelled pieces."""
    from pipelines.report.numerals import byte_size

    plain, spelling, split = check.plain, check.spelling, check.split
    size = byte_size(plain.bytes + split.bytes)
    lines = [f"check     {_texts(plain.texts + split.texts)}, {size}: {_verdict(plain)}"]
    lines += _first(plain)
    if split.texts:
        named = ", ".join(f"{name} {count:,}" for name, count in sorted(check.pieces.items()))
        lines.append(
            f"warning   {_texts(split.texts)} with the name of a control piece ({named}): a stock "
            f"tokenizer turns it into the piece, and gives {spelling.different:,} of them other "
            f"ids; with split_special_tokens=True {_verdict(split)}"
        )
        lines += _first(split)
    if unreadable:
        lines.append(f"not read  {unreadable:,} records or lines, which are no text")
    return lines


def _texts(count: int) -> str:
    return f"{count:,} {'text' if count == 1 else 'texts'}"


def _verdict(counts: Counts) -> str:
    if not (counts.different or counts.not_restored):
        return "all ids are the same, all texts come back"
    return (
        f"of {_texts(counts.texts)} {counts.different:,} with other ids, {counts.not_restored:,} "
        "that did not come back"
    )


def _first(counts: Counts) -> list[str]:
    return [
        f"          text {one.text + 1:,}, character {one.character + 1:,} "
        f"{one.excerpt!r}: {list(one.ours)} here, {list(one.theirs)} there"
        for one in counts.first
    ]
