"""The card of an exported model: a README.md as model hubs show and index it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from artifacts.visible_text import on_one_line
from trainer.checkpoints.state import CheckpointState
from trainer.export.check import LogitCheck
from trainer.export.layouts import Layout
from trainer.shapes.config import ModelConfig
from trainer.shapes.parameter_counts import count_parameters

CARD = "README.md"

_LOADED_BY = {
    "granite": "`transformers` (`GraniteForCausalLM`), vLLM and llama.cpp's converter",
    "llama": "`transformers` (`LlamaForCausalLM`), vLLM and llama.cpp's converter",
    "minicpm": "MiniCPM's own code, vLLM and llama.cpp; `transformers` has no such class",
}


@dataclass(frozen=True)
class Section:
    """A part of the card that the caller knows about: Markdown under a heading."""

    heading: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Story:
    """What is known of how a model was made. ``languages`` by the codes of a hub. A licence is not
    among it: those of the data are no licence of the model, which is its maker's to choose.
    """

    name: str
    languages: Sequence[str] = ()
    sections: Sequence[Section] = field(default_factory=tuple)


@dataclass(frozen=True)
class Written:
    """What an export came to, for its card."""

    config: ModelConfig
    layout: Layout
    dtype: str
    tied: bool
    context: int
    logits: LogitCheck
    ids: str


def model_card(written: Written, state: CheckpointState, story: Story) -> str:
    """The card as text."""
    lines = [
        *_front(story),
        f"# {on_one_line(story.name)}",
        "",
        f"A language model in the layout `{written.layout.name}`, loaded by "
        f"{_LOADED_BY[written.layout.name]}.",
        "",
        *_shape(written),
        "",
        *_checks(written),
        "",
        *_cautions(written),
        "",
        *_origin(state),
    ]
    for section in story.sections:
        lines += ["", f"## {section.heading}", "", *section.lines]
    return "\n".join(lines) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table."""
    shown = [" | ".join(_cell(value) for value in row) for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {row} |" for row in shown)]


def _front(story: Story) -> list[str]:
    front = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    if story.languages:
        front.append(f"language: {json.dumps(list(story.languages))}")
    return [*front, 'tags: ["windtunnel"]', "---", ""]


def _shape(written: Written) -> list[str]:
    config, counts = written.config, count_parameters(written.config)
    rows = [
        ("parameters", f"{counts.total:,} ({counts.non_embedding:,} without embeddings)"),
        ("layers, width, inner width", f"{config.layers}, {config.width}, {config.ff}"),
        ("heads, key-value heads, head size", _heads(config)),
        ("vocabulary", f"{config.vocab_size:,} pieces"),
        ("context", f"{written.context:,} tokens"),
        ("head", "the embedding" if written.tied else "a table of its own"),
        ("weights", written.dtype),
    ]
    return table(("what", "value"), rows)


def _heads(config: ModelConfig) -> str:
    return f"{config.heads}, {config.kv_heads}, {config.head_dim}"


def _checks(written: Written) -> list[str]:
    found = written.logits
    return [
        "## Checks",
        "",
        f"- Logits: read back from these files and computed by the layout's formulas, "
        f"{found.tokens} places differ from the training program's by at most "
        f"{found.largest_difference:.2g} (the largest logit is {found.largest_logit:.3g}), "
        f"{found.mean_kl:.2g} nats on average.",
        f"- Token ids: {written.ids}",
    ]


def _cautions(written: Written) -> list[str]:
    lines = [
        "## Before use",
        "",
        "- A text begins with `<s>`; the tokenizer adds it.",
        "- Text that spells a control piece, such as `<AI>` or `</s>`, becomes that piece in a "
        "stock tokenizer; with `split_special_tokens=True` it stays text. Do so with text that "
        "others wrote.",
        "- Packed rows (several documents, positions that begin anew) are kept apart by stock code "
        "only without a mask and without a cache (`attention_mask=None, use_cache=False`).",
    ]
    if written.layout.folded:
        lines.append(
            "- The multipliers of MiniCPM's parameterisation are folded into the weights: learning "
            "rates of training do not carry over."
        )
    lines += [f"- {caution}" for caution in _in_llama_cpp(written)]
    return lines


def _in_llama_cpp(written: Written) -> Iterator[str]:
    """What llama.cpp makes otherwise of such a folder, or not at all."""
    config, layout = written.config, written.layout.name
    if layout == "minicpm":
        yield (
            "llama.cpp puts a space before a text, unless `tokenizer.ggml.add_space_prefix` is set "
            "to false."
        )
    if layout == "granite" and config.heads * config.head_dim != config.width:
        yield "llama.cpp does not load it: its Granite has heads of width / heads."
    if config.rope_scaling == "dynamic":
        yield (
            "llama.cpp leaves dynamic NTK out: beyond the original context it is another model "
            "there."
        )


def _origin(state: CheckpointState) -> list[str]:
    facts = [("step", f"{state.step:,}"), ("tokens shown", f"{state.tokens:,}")]
    if state.plan_hash:
        facts.append(("hash of the data plan", f"`{state.plan_hash}`"))
    facts.append(("hash of the tokenizer", f"`{state.tokenizer_hash}`"))
    if state.history:
        software = state.history[-1].software
        facts.append(
            ("trained with", ", ".join(f"{name} {software[name]}" for name in sorted(software)))
        )
    return ["## Training", "", *table(("what", "value"), facts)]


def _cell(value: object) -> str:
    return on_one_line(str(value)).replace("|", "\\|")
