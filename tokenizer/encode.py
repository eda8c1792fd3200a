"""Text to ids and back, a column at a time, without loss.

``Tokenizer.encode`` gives the ids of SentencePiece's own encoder (U+2581 apart, which SentencePiece
cannot keep) and is faster because every distinct word of a window is encoded once: the text is cut
where no piece reaches across, the words are numbered by Arrow, SentencePiece encodes the distinct
ones, and a kernel joins the ids. A window is a bounded number of bytes, whatever the documents'
lengths, so memory is bounded by it and by the output. Text without one safe cut in 1 MiB (a single
character repeated, say) is cut there all the same: it comes back, but SentencePiece, which takes
some fifty bytes of memory for each byte of such a run, may join other ids at that place.

Shapes: n documents, t tokens in all. Tokens are uint16 when the vocabulary has at most 65,536
pieces, else uint32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sentencepiece as spm
import xxhash
from numpy.typing import NDArray

from artifacts.errors import UserError
from tokenizer.decode import Decoder
from tokenizer.foreign.model import ForeignModel
from tokenizer.foreign.packed import Packed, is_packed, unpack
from tokenizer.foreign.sentencepiece_prefix import adds_prefix, without_prefix
from tokenizer.prefix import Prefix
from tokenizer.vocabulary import CONTROL, SPACE_MARK, Vocabulary, read_vocabulary
from tokenizer.words import join_tokens, mark_cuts

WINDOW_BYTES = 16 << 20
LONGEST_WORD = 1 << 20
_PROBES = ("a", " a", "  a  b ", "\t\r\n x", "\ufb01 \uff21 e\u0301", "\ufeff\x00\x7f", SPACE_MARK)


def token_type(vocab_size: int) -> pa.DataType:
    """Arrow type of one token for a vocabulary, reserved pieces included."""
    return pa.uint16() if vocab_size <= 1 << 16 else pa.uint32()


@dataclass(frozen=True)
class Tokenizer:
    """A SentencePiece model that keeps every text. Make one with :meth:`load`."""

    model: bytes
    window_bytes: int = WINDOW_BYTES

    @classmethod
    def load(
        cls, model: bytes | str | Path, window_bytes: int = WINDOW_BYTES, file: object = None
    ) -> Tokenizer:
        """A tokenizer from a model file or its bytes; text is handled ``window_bytes`` at a time.
        ``file``: what errors call the bytes.

        Raises: UserError when the file is missing or no model, lacks byte pieces, or changes text
        (a normaliser, removal of spaces). Bytes may be a foreign tokenizer too
        (:mod:`tokenizer.foreign`).
        """
        file = (file or "the given bytes") if isinstance(model, bytes) else model
        tokenizer = cls(model if isinstance(model, bytes) else _read(model), window_bytes)
        tokenizer._check(file)
        return tokenizer

    @property
    def processor(self) -> spm.SentencePieceProcessor:
        """SentencePiece's own object, for what this class does not cover. It puts no space before
        a text: :attr:`prefix` does.
        """
        return self._loaded[0]

    @cached_property
    def packed(self) -> Packed | None:
        """The files of its folder, where it is somebody else's and was packed with them."""
        return unpack(self.model, "tokenizer") if is_packed(self.model) else None

    @cached_property
    def foreign(self) -> ForeignModel | None:
        """What carries it out where it is no SentencePiece model."""
        if self.packed is None or self.packed.sentencepiece is not None:
            return None
        return ForeignModel.of(self.packed)

    @cached_property
    def prefix(self) -> Prefix:
        """Which texts get a space before them."""
        if self.packed is not None:
            return self.packed.prefix
        return Prefix.FIRST if self._loaded[1] else Prefix.NONE

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The pieces as arrays."""
        if self.foreign is not None:
            return self.foreign.vocabulary
        return read_vocabulary(self.processor, "tokenizer model")

    @cached_property
    def hash(self) -> str:
        """xxh3_128 of the model's bytes, 32 hex digits: what shards and checkpoints pin."""
        return xxhash.xxh3_128_hexdigest(self.model)

    @property
    def vocab_size(self) -> int:
        """Pieces V, reserved ones included."""
        return self.vocabulary.size

    @property
    def bos_id(self) -> int:
        """Id of ``<s>``; added by the loader, never stored."""
        return int(self.processor.bos_id()) if self.foreign is None else self.foreign.packed.bos

    @property
    def eos_id(self) -> int:
        """Id of ``</s>``, the last token of every stored document."""
        return int(self.processor.eos_id()) if self.foreign is None else self.foreign.packed.eos

    @property
    def token_type(self) -> pa.DataType:
        """uint16 or uint32, by vocabulary size."""
        return token_type(self.vocab_size)

    def control_id(self, name: str) -> int | None:
        """Id of a control piece such as ``<User>``, None when the model has none of that name.

        Only control pieces count: text never encodes to them, so a document cannot forge them.
        """
        if self.foreign is not None:
            return self.foreign.control_id(name)
        token = int(self.processor.piece_to_id(name))
        known = (
            self.vocabulary.kinds[token] == CONTROL and self.processor.id_to_piece(token) == name
        )
        return token if known else None

    def encode(
        self, texts: pa.Array | pa.ChunkedArray, eos: bool = False, after_mark: bool = False
    ) -> pa.LargeListArray:
        """Ids of each text: n strings to large_list of :attr:`token_type`; ``eos`` appends EOS to
        each. ``after_mark``: the texts stand after a control piece, such as the mark of a turn.

        Raises: UserError on a null text.
        """
        column = self.prefix.before(_large_strings(texts), after_mark)
        if self.foreign is not None:
            tokens, ends = self.foreign.encode(column)
        else:
            tokens, ends = self._encode_bytes(*_buffers(column))
        if eos:
            tokens = np.insert(tokens, ends[1:], self.eos_id)
            ends = ends + np.arange(len(ends))
        flat = pa.array(tokens.astype(self.token_type.to_pandas_dtype()))
        return pa.LargeListArray.from_arrays(pa.array(ends), flat)

    def decode(
        self, tokens: pa.Array | pa.ChunkedArray, controls: bool = True, middle: bool = False
    ) -> pa.LargeStringArray:
        """Text of each row of ids; ``controls`` shows control marks by name, else they are left
        out. ``middle``: a row begins within a text, not with one.

        Bytes that are not UTF-8 (ids cut inside a character) become U+FFFD.
        Raises: UserError on an id outside the vocabulary.
        """
        return self.decoder.texts(tokens, controls, middle)

    @cached_property
    def decoder(self) -> Decoder:
        """What each id says where it stands."""
        return Decoder(self.vocabulary, self.prefix, self.bos_id, self.eos_id)

    def encode_text(self, text: str, after_mark: bool = False) -> list[int]:
        """Ids of one text, for single prompts, as :meth:`encode` has them.

        Raises: UserError when it is not Unicode, such as an argument of a command that was not
        UTF-8.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                "not a text in UTF-8",
                parameter="text",
                found=ascii(text[error.start : error.end]),
                fix="give it in UTF-8",
            ) from None
        ids: list[int] = self.encode(pa.array([text], pa.large_string()), after_mark=after_mark)[
            0
        ].as_py()
        return ids

    def decode_tokens(self, tokens: list[int], controls: bool = True) -> str:
        """Text of one row of ids."""
        text: str = self.decode(pa.array([tokens], pa.large_list(pa.int64())), controls)[0].as_py()
        return text

    def bytes_per_token(self, texts: pa.Array) -> float:
        """UTF-8 bytes per id over a sample of texts; 0 when they hold nothing."""
        column = _large_strings(texts)
        tokens = len(self.encode(column).values)
        return (pc.sum(pc.binary_length(column)).as_py() or 0) / tokens if tokens else 0.0

    def __repr__(self) -> str:
        return f"Tokenizer({self.hash}, {self.vocab_size} pieces)"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Tokenizer, (self.model, self.window_bytes))

    @cached_property
    def _loaded(self) -> tuple[spm.SentencePieceProcessor, bool]:
        """The model without a space before texts, and whether it had one."""
        model = self.model if self.packed is None else self.packed.sentencepiece
        if not model:  # SentencePiece takes no bytes for no model given
            raise ValueError("an empty file")
        given = spm.SentencePieceProcessor(model_proto=model)
        if not adds_prefix(given):
            return given, False
        return spm.SentencePieceProcessor(model_proto=without_prefix(model)), True

    def _encode_bytes(
        self, values: NDArray[np.uint8], offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Ids (t,) of all documents and their token offsets (n + 1,)."""
        ends = np.zeros(len(offsets), np.int64)
        parts: list[NDArray[np.int32]] = []
        done = 0
        start, last = int(offsets[0]), int(offsets[-1])
        while start < last:
            stop, starts = self._window(values, offsets, start, last)
            tokens, bounds = self._encode_words(values, starts, stop)
            first, after = (
                np.searchsorted(offsets, start, "right"),
                np.searchsorted(offsets, stop, "right"),
            )
            ends[first:after] = done + bounds[np.searchsorted(starts, offsets[first:after])]
            parts.append(tokens)
            done += len(tokens)
            start = stop
        return np.concatenate(parts) if parts else np.empty(0, np.int32), ends

    def _window(
        self, values: NDArray[np.uint8], offsets: NDArray[np.int64], start: int, last: int
    ) -> tuple[int, NDArray[np.int64]]:
        """End of the window that begins at ``start`` and the places where its words start.

        A window ends at a document's end or a safe cut; it grows while it holds neither.
        """
        size = self.window_bytes
        pairs = self.vocabulary.pairs
        while True:
            stop = min(start + size, last)
            while stop < last and values[stop] & 0xC0 == 0x80:
                stop += 1
            borders = np.array(
                offsets[np.searchsorted(offsets, start) : np.searchsorted(offsets, stop)]
            )
            cuts = mark_cuts(values, start, stop, borders, pairs.ascii, pairs.table, LONGEST_WORD)
            starts = np.flatnonzero(cuts) + start
            if stop == last or offsets[np.searchsorted(offsets, stop)] == stop:
                return stop, starts
            # whether the last word ends at the window's edge is not known: leave it to the next
            if len(starts) > 1:
                return int(starts[-1]), starts[:-1]
            size *= 2

    def _encode_words(
        self, values: NDArray[np.uint8], starts: NDArray[np.int64], stop: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Ids of the words and, for each word and the end, the number of ids before it."""
        offsets = pa.py_buffer(np.append(starts, stop))
        words = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(starts), [None, offsets, pa.py_buffer(values)]
        )
        numbered = words.dictionary_encode()
        table, table_offsets = self._word_table(numbered.dictionary.to_pylist())
        indices = numbered.indices.to_numpy()
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(table_offsets)[indices])])
        return join_tokens(indices, table, table_offsets, int(bounds[-1])), bounds

    def _word_table(self, words: list[bytes]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        rows = self.processor.encode(words, num_threads=1, out_type=int)
        mark = SPACE_MARK.encode()
        if mark in words:  # always a word of its own
            rows[words.index(mark)] = self.vocabulary.byte_ids[
                np.frombuffer(mark, np.uint8)
            ].tolist()
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return np.fromiter(chain.from_iterable(rows), np.int32, int(offsets[-1])), offsets

    def _check(self, file: object) -> None:
        try:
            if self.foreign is not None:
                self.foreign.check(file)
            else:
                self.__dict__["vocabulary"] = read_vocabulary(self.processor, file)
            probes = [
                (probe, self.decode_tokens(self.encode_text(probe), controls=False))
                for probe in _PROBES
            ]
        except (RuntimeError, OSError, ValueError, LookupError, OverflowError) as error:
            raise UserError(
                "not a SentencePiece model" if self.foreign is None else "not a tokenizer.json",
                file=file,
                found=str(error) or type(error).__name__,
                fix="give the file itself, or restore it",
            ) from None
        for probe, kept in probes:
            # others put a space before every text, which does no harm to what is generated
            same = kept == probe or (self.foreign is not None and kept == f" {probe}")
            if not same:
                raise UserError(
                    "the tokenizer changes text",
                    file=file,
                    found=f"{probe!r} comes back as {kept!r}",
                    fix=(
                        "train with the identity normaliser, remove_extra_whitespaces=false and "
                        "treat_whitespace_as_suffix=false"
                        if self.foreign is None
                        else "take a tokenizer without a normaliser"
                    ),
                )


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(
            "cannot read the tokenizer model", file=path, found=error.strerror, fix="check the path"
        ) from None


def _large_strings(texts: pa.Array | pa.ChunkedArray) -> pa.LargeStringArray:
    column = texts.cast(pa.large_string())
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise UserError(
            "a document has no text",
            field="text",
            found=f"null in row {row}",
            fix="quarantine it before encoding",
        )
    return column


def _buffers(column: pa.LargeStringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    _, offsets, values = column.buffers()
    if len(column) == 0 or offsets is None:
        return np.frombuffer(b"", np.uint8), np.zeros(1, np.int64)
    text = np.frombuffer(values or b"", np.uint8)
    text.flags.writeable = False  # one array type for the kernels, whoever owns the buffer
    return text, np.frombuffer(offsets, np.int64, len(column) + 1, column.offset * 8)
