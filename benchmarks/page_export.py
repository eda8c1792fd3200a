"""Section of the performance page on what other programs make of our exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.page_tables import heading, table

LLAMA = "llama.cpp"
IDS = (
    "reader, layout", "texts", "differ", "with U+2581", "spelling a mark", "differ",
    "conversations", "differ",
)  # fmt: skip
Found = Mapping[str, Any]


def readers_section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Every reader's answers beside ours."""
    yield from heading("Exports in other programs", name, result)
    model, readers = result["model"], result["readers"]
    yield (
        f"Not a speed: folders of `windtunnel export`, read by other programs on one thread. A "
        f"{model['weights']} model of {model['parameters']:,} parameters, its weights with scaled "
        "positions (in windows four times the context that they start from), and a drawn one whose "
        "heads do not fill the width, with a head beside the embedding (`wide heads`). Windows of "
        f"{result['window']} tokens of real text; logits are compared "
        "on four texts of 1 to 200 tokens, packed documents with the same documents apart, greedy "
        "texts over 64 tokens."
    )
    for reader, found in readers.items():
        yield from ("", f"### {_title(reader, found)}", "")
        yield from table(*(_gguf(found) if reader == LLAMA else _stock(found)))
    yield from ("", "### Token ids and conversations", "")
    yield from table(
        IDS,
        [
            _ids(reader, *pair)
            for reader, found in readers.items()
            for pair in found["texts"].items()
        ],
    )
    yield from ("", *_remarks(result))


def _title(reader: str, found: Found) -> str:
    versions = found["versions"]
    if reader == LLAMA:
        return f"llama.cpp, of llama-cpp-python {versions['llama-cpp-python']}"
    return f"transformers {versions['transformers']}"


def _stock(found: Found) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Cases through transformers."""
    header = ("case", "logits", "packed", "divergence, nats", "loss, nats", "greedy texts differ")
    rows = []
    for case, run in found["cases"].items():
        greedy = run.get("greedy")
        rows.append(
            (
                case,
                f"{run['logits']['largest_difference']:.1e}",
                f"{run['packed']['largest_difference']:.1e}",
                f"{run['logits']['mean_kl']:.1e}",
                f"{run['loss']['difference']:+.1e}",
                f"{greedy['different']} of {greedy['texts']}" if greedy else "",
            )
        )
    return header, rows


def _gguf(found: Found) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Cases through llama.cpp, by what they were converted to."""
    header = ("case", "as", "loss, nats", "difference", "logits", "difference, fp32 cache")
    header += ("logits, fp32 cache", "greedy texts differ")
    rows = []
    for case, runs in found["cases"].items():
        for kind, run in runs.items():
            if "refused" in run:
                rows.append((case, kind, run["refused"], *[""] * 5))
                continue
            cells = [
                cell
                for cache in ("", ", fp32 cache")
                for cell in (
                    f"{run[f'loss{cache}']['difference']:+.1e}",
                    f"{run[f'logits{cache}']['largest_difference']:.1e}",
                )
            ]
            said = f"{run['greedy']['different']} of {run['greedy']['texts']}"
            rows.append((case, kind, f"{run['loss']['ours']:.5f}", *cells, said))
    return header, rows


def _ids(reader: str, layout: str, texts: Found) -> tuple[str, ...]:
    lines, spelling, chats = texts["lines"], texts["spelling"], texts["chats"]["up_to_the_answer"]
    return (
        f"{reader}, {layout}",
        f"{lines['texts']:,}",
        f"{lines['different']:,}",
        f"{lines['holding'].get('U+2581', 0):,}",
        f"{spelling['texts']:,}",
        f"{spelling['different']:,}",
        f"{chats['texts']:,}",
        f"{chats['different']:,}",
    )


def _remarks(result: Found) -> Iterator[str]:
    if result["not_promised"]:
        yield "Measured and not promised:"
        yield ""
        yield from (f"- {case}: {said}" for case, said in result["not_promised"].items())
        yield ""
    if result["failures"]:
        yield f"Out of their limits: {'; '.join(result['failures'])}."
        yield ""
    missing = "; ".join(f"{name} ({said})" for name, said in result["not_run"].items())
    yield f"Not run: {missing}. Texts that spell a mark, such as `<AI>`, are encoded as text."
