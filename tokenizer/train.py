"""Train a SentencePiece BPE tokenizer in MiniCPM's manner (arXiv 2404.06395, appendix C).

Ids: ``<unk>`` 0, ``<s>`` 1, ``</s>`` 2, then the chat marks and reserved pieces as *control*
pieces (text never encodes to them), then the user symbols, 256 byte pieces, and what was learned.
The same sample, in the same order, gives the same bytes on any machine: the trainer runs on one
thread, because the model file records the number of threads.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import sentencepiece as spm
from pydantic import Field, model_validator

from artifacts.errors import UserError
from artifacts.records import Record
from tokenizer.encode import Tokenizer
from tokenizer.sentences import SentenceCounts, sentences
from tokenizer.vocabulary import NORMAL, SPACE_MARK

CHAT_MARKS = ("<User>", "<AI>", "<System>", "<Tool>")
_SPECIALS = ("<unk>", "<s>", "</s>")
_FIXED_PIECES = len(_SPECIALS) + 256


class TrainConfig(Record):
    """What decides a tokenizer besides its sample.

    ``vocab_size``: pieces in all, reserved and byte pieces included. ``character_coverage``: share
    of the sample's characters that get a piece, the rest is written in bytes. ``space_runs``:
    lengths of runs of spaces that are symbols (code). ``reserved``: unused control pieces kept for
    later marks. ``round_to``: an embedding table is rounded up to a multiple of this; the model
    keeps ``vocab_size`` pieces and the report states both figures. ``max_sentence_bytes``: longest
    piece of text the trainer sees at once. ``max_document_bytes``: what of a long document is used.
    ``seed`` chooses the sample (:func:`tokenizer.sample.weighted_sample`) and stands here so that
    one record holds all that decides a tokenizer; training itself draws nothing.
    """

    vocab_size: int = Field(ge=300, le=1 << 20)
    character_coverage: float = Field(default=0.9995, ge=0.98, le=1.0)  # as SentencePiece has it
    split_digits: bool = True
    chat_marks: tuple[str, ...] = CHAT_MARKS
    reserved: int = Field(default=16, ge=0, le=4096)
    space_runs: tuple[int, ...] = (2, 4, 8, 16)
    user_symbols: tuple[str, ...] = ("\n", "\t")
    round_to: int = Field(default=64, ge=1)
    max_sentence_bytes: int = Field(default=1 << 16, ge=64, le=1 << 24)
    max_document_bytes: int = Field(default=1 << 20, ge=64)
    seed: int = 1

    @model_validator(mode="after")
    def _symbols_differ(self) -> TrainConfig:
        names = [
            *_SPECIALS,
            *self.control_symbols,
            *self.user_symbols,
            *(" " * length for length in self.space_runs),
        ]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"symbols named twice: {', '.join(map(repr, twice))}; control marks and user "
                "symbols must all differ"
            )
        if any(not name for name in names):
            raise ValueError(
                "a symbol is empty; a mark, user symbol or run of spaces has at least one character"
            )
        return self

    @property
    def control_symbols(self) -> list[str]:
        """Chat marks and reserved pieces, in the order of their ids from 3 on."""
        return [*self.chat_marks, *(f"<reserved_{number}>" for number in range(self.reserved))]

    @property
    def fixed_pieces(self) -> int:
        """Pieces that do not depend on the sample: specials, controls, symbols and bytes."""
        return (
            _FIXED_PIECES
            + len(self.control_symbols)
            + len(self.user_symbols)
            + len(self.space_runs)
        )


@dataclass(frozen=True)
class TrainReport:
    """What came out: piece counts, the model's hash, and what cutting the sample did."""

    vocab_size: int
    padded_vocab_size: int
    learned_pieces: int
    fixed_pieces: int
    model_hash: str
    model_bytes: int
    counts: SentenceCounts


def train(
    sample: Iterable[pa.LargeStringArray], config: TrainConfig, output: Path | str
) -> TrainReport:
    """Train on the sample's documents in their order and write the model to ``output``.

    Peak memory is about ten times the sample's bytes: the trainer holds it all.
    Raises: UserError when the sample is empty, or has too few or too many characters for the
    vocabulary, with both figures.
    """
    model, counts = train_model(sample, config)
    Path(output).write_bytes(model)
    tokenizer = Tokenizer.load(model)
    padded = -(-tokenizer.vocab_size // config.round_to) * config.round_to
    normal = int((tokenizer.vocabulary.kinds == NORMAL).sum())
    learned = normal - len(config.user_symbols) - len(config.space_runs)
    return TrainReport(
        tokenizer.vocab_size,
        padded,
        learned,
        config.fixed_pieces,
        tokenizer.hash,
        len(model),
        counts,
    )


def train_model(
    sample: Iterable[pa.LargeStringArray], config: TrainConfig
) -> tuple[bytes, SentenceCounts]:
    """The model's bytes and the counts, nothing written. Raises as :func:`train`."""
    if config.fixed_pieces >= config.vocab_size:
        raise UserError(
            "the vocabulary has no room for learned pieces",
            field="tokenizer.vocab_size",
            found=config.vocab_size,
            fix=(
                f"ask for more than {config.fixed_pieces}, which marks, symbols and bytes take, or "
                "reserve fewer"
            ),
        )
    counts = SentenceCounts()
    writer = io.BytesIO()
    try:
        spm.SentencePieceTrainer.train(
            sentence_iterator=sentences(
                sample, config.max_sentence_bytes, config.max_document_bytes, counts
            ),
            model_writer=writer,
            model_type="bpe",
            vocab_size=config.vocab_size,
            character_coverage=config.character_coverage,
            byte_fallback=True,
            split_digits=config.split_digits,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            max_sentence_length=config.max_sentence_bytes,
            control_symbols=config.control_symbols,
            user_defined_symbols=[
                *config.user_symbols,
                *(SPACE_MARK * length for length in config.space_runs),
            ],
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _explained(str(error), config, counts) from None
    return writer.getvalue(), counts


def _explained(message: str, config: TrainConfig, counts: SentenceCounts) -> Exception:
    if counts.sentences == 0:
        return UserError(
            "the tokenizer sample holds no text", field="tokenizer.sample", fix="give it documents"
        )
    size = config.vocab_size
    if few := re.search(r"value <= (\d+)", message):
        return UserError(
            f"the sample ({counts.bytes} bytes) gives at most {few[1]} pieces",
            field="tokenizer.vocab_size",
            found=size,
            fix=f"set vocab_size to at most {few[1]}, or use a larger sample",
        )
    if many := re.search(r"required_chars\. \d+ vs (\d+)", message):
        return UserError(
            f"single characters and fixed pieces alone take {many[1]}",
            field="tokenizer.vocab_size",
            found=size,
            fix=(
                f"set vocab_size well above {many[1]}, or character_coverage below "
                f"{config.character_coverage}"
            ),
        )
    return RuntimeError(f"SentencePiece could not train: {message}")
