"""Which of the readers' answers are as they must be, by limits and by what is promised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.peers.readers.comparing import MARK

LLAMA = "llama.cpp"
GGUF = "llama"  # what llama.cpp calls tokenizers of SentencePiece
LOGITS, NATS = 1e-4, 1e-3
"""Largest difference of a logit of size 1 in fp32 (transformers), and of the mean loss (all)."""

NOT_PROMISED = {
    (LLAMA, "dynamic"): "llama.cpp has no dynamic NTK",
    (LLAMA, "wide heads, granite"): "llama.cpp's Granite has heads that fill the width",
    (LLAMA, "ids, minicpm"): "llama.cpp's converter does not say that no space goes before a text",
}
"""What is measured and not promised: a reader, how names of cases begin, and why."""


def failures(readers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Everything that is promised and is not so."""
    for reader, found in readers.items():
        for name, case in found["cases"].items():
            for kind, run in (case if reader == LLAMA else {"": case}).items():
                if reason(reader, name) is None:
                    place = f"{reader}: {name}{kind and f' as {kind}'}"
                    yield from (f"{place}: {said}" for said in wrong(run, name, reader))
        for layout, texts in found["texts"].items():
            if reason(reader, f"ids, {layout}") is None:
                yield from (f"{reader}: {layout}: {said}" for said in wrong_texts(texts))


def reason(reader: str, name: str) -> str | None:
    """Why a case is not promised."""
    for (whose, begin), said in NOT_PROMISED.items():
        if whose == reader and f"{name},".startswith(f"{begin},"):
            return said
    return None


def wrong(run: Mapping[str, Any], name: str, reader: str) -> Iterator[str]:
    """What of one case's answers is out of its limit."""
    if "refused" in run:
        yield run["refused"]
        return
    if not abs(run["loss"]["difference"]) <= NATS:
        yield f"loss {run['loss']['difference']:+.3g} nats"
    if reader == LLAMA or not name.endswith("fp32"):
        return
    for what in ("logits", "packed"):
        if not run[what]["largest_difference"] <= LOGITS * max(1.0, run[what]["largest_logit"]):
            yield f"{what} {run[what]['largest_difference']:.3g}"
    if run["greedy"]["different"]:
        yield f"{run['greedy']['different']} greedy texts"


def wrong_texts(texts: Mapping[str, Any]) -> Iterator[str]:
    """What of a tokenizer's answers is not ours, but for what llama.cpp loses of U+2581."""
    counted = {"lines": texts["lines"], "spelling": texts["spelling"]}
    chats = {name: part for name, part in texts["chats"].items() if isinstance(part, dict)}
    for what, found in {**counted, **chats}.items():
        lost = found["holding"].get(MARK, 0) if texts["class"] == GGUF else 0
        if found["different"] > lost:
            yield f"{found['different'] - lost} of {found['texts']} {what} have other ids"
    for what in ("not_restored", "without_bos"):
        if texts.get(what):
            yield f"{texts[what]} lines {what.replace('_', ' ')}"
    if texts["chats"].get("other_targets"):
        yield f"{texts['chats']['other_targets']} conversations with other targets"


def not_promised(readers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {
        f"{reader}: {name}": said
        for reader, found in readers.items()
        for name in (*found["cases"], *(f"ids, {layout}" for layout in found["texts"]))
        if (said := reason(reader, name)) is not None
    }
