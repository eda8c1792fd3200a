"""Uncompressed bytes of an input, in bounded blocks, with honest marks where decoding fails.

Compressed input is decoded member by member (:mod:`pipelines.readers.streams.decoders`). When a
member cannot be decoded further, everything that can be decoded before the damage is still handed
on: the member is decoded once more, byte by byte where it failed. Then reading goes on at the next
place that looks like the beginning of a member and decodes. What is tried in vain on the way is
bounded by ``Limits.search_bytes``, so that a file cannot make its reader read it again and again.
Memory stays bounded however well the input is compressed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from pipelines.readers.span import Limits
from pipelines.readers.streams.damage import CORRUPT_STREAM, TRUNCATED_STREAM, Damage
from pipelines.readers.streams.decoders import BLOCK_BYTES, ERRORS, decoder_factory
from pipelines.readers.streams.watched import WatchedFile
from pipelines.readers.streams.zstd_pieces import BLIND_PIECE_BYTES, zstd_pieces

_PIECE_BYTES = 16 * 1024
_PROOF_BYTES = 32 * 1024  # decoded of what looks like a member before it is taken for one
_ZERO_PADDED = ("gzip", "xz")
_SMALL_BYTES = 512
_CHECKSUM_WORDS = ("data check", "checksum")
_BEGINNING = {  # of a member
    "gzip": re.compile(rb"\x1f\x8b\x08[\0-\x1f]"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
    "bzip2": re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
    "lz4": re.compile(rb"\x04\x22\x4d\x18"),
}
_LONGEST_BEGINNING = 10


def blocks(file: IO[bytes], compression: str | None, limits: Limits) -> Iterator[bytes | Damage]:
    """Uncompressed bytes of an open file from its position on (a compressed file: from its start),
    and the :class:`Damage` between them.
    """
    if compression is None:
        yield from plain_blocks(file)
        return
    start: int | None = 0
    emitted = 0
    search = _Search(file, compression, limits)
    while start is not None:
        run = _Run(file, compression, limits, start, emitted)
        yield from run.blocks()
        if run.fault is None:
            if run.unfinished:
                yield Damage(
                    TRUNCATED_STREAM,
                    f"the {compression} file ends early, after {file.tell()} compressed bytes",
                )
            return
        fine = _FineRun(run)
        yield from fine.blocks()
        emitted = fine.emitted
        search.decoded_again(run.member_at, fine.end)
        following = fine.end if fine.checksum_failed else run.member_at + 1
        start = search.next_member(following)
        suspect = (run.member_from, emitted) if emitted > run.member_from else None
        yield Damage(
            TRUNCATED_STREAM if fine.ends_early and start is None else CORRUPT_STREAM,
            f"{compression} cannot be decoded at byte {fine.end - 1} of the compressed file: "
            f"{fine.complaint}; {search.account(start, fine.end)}",
            suspect,
            gap=not fine.checksum_failed or start != following,
        )


def plain_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of an open file from its position on."""
    while block := file.read(BLOCK_BYTES):
        yield block


class _Run:
    """Decoding from a member's beginning on, until the file ends or a member is damaged.

    After it: ``emitted``, the uncompressed offset behind what was handed out; ``fault``, what the
    decoder said, if it failed; ``fault_at``, where the piece it refused begins; ``member_at`` and
    ``member_from``, where the last member begins in the file and in the uncompressed stream.
    """

    def __init__(
        self,
        file: IO[bytes],
        compression: str,
        limits: Limits,
        start: int,
        emitted: int,
        lz4_bytes: int = _PIECE_BYTES,  # asked for at once, and lost where a frame in them fails
    ) -> None:
        self._lz4_bytes = lz4_bytes
        self.file = file
        self.compression = compression
        self.limits = limits
        self.emitted = emitted
        self.fault: str | None = None
        self.fault_at = self.member_at = start
        self.member_from = emitted
        self.unfinished = False

    def blocks(self) -> Iterator[bytes]:
        self.file.seek(self.member_at)
        decoded = self._lz4() if self.compression == "lz4" else self._members()
        for block in decoded:
            self.emitted += len(block)
            yield block

    def _members(self) -> Iterator[bytes]:
        new_decoder = decoder_factory(self.compression, self.limits)
        start, decoder, seen = self.member_at, None, self.member_at > 0
        for place, whole in self._pieces():
            position, piece = start + place, whole
            while piece:
                if decoder is None:
                    if seen and self.compression in _ZERO_PADDED:
                        piece = piece.lstrip(b"\0")
                    if not piece:
                        break
                    decoder, seen = new_decoder(), True
                    self.member_at = position + len(whole) - len(piece)
                    self.member_from = self.emitted
                try:
                    yield from decoder.feed(piece)
                except ERRORS as error:
                    self.fault, self.fault_at = str(error), position
                    return
                if not decoder.eof:
                    break
                piece, decoder = decoder.unused_data, None
        self.unfinished = decoder is not None or not seen

    def _pieces(self) -> Iterator[tuple[int, bytes]]:
        if self.compression == "zstd":
            return zstd_pieces(self.file)
        return pieces(self.file, _PIECE_BYTES)

    def _lz4(self) -> Iterator[bytes]:
        from fastwarc.stream_io import Lz4Reader  # late: most inputs are not lz4

        watched = WatchedFile(self.file)
        start = self.member_at
        reader = Lz4Reader(watched)
        try:
            while block := reader.read(self._lz4_bytes):
                frame = reader.frame_start_position()
                if frame is not None and frame > self.member_at:
                    self.member_at, self.member_from = frame, self.emitted
                yield block
        except OSError as error:
            self.fault = str(error)
            # a frame may have ended in what was asked for and is lost
            self.fault_at = reader.frame_start_position() or self.member_at
        watched.raise_failure()
        self.unfinished = self.fault is None and self.emitted == 0 and start == 0


def pieces(file: IO[bytes], piece_bytes: int) -> Iterator[tuple[int, bytes]]:
    """(position from where the file stood, bytes) of the rest of a file."""
    position = 0
    while block := file.read(BLOCK_BYTES):
        for start in range(0, len(block), piece_bytes):
            yield position + start, block[start : start + piece_bytes]
        position += len(block)


class _FineRun:
    """The damaged member of a run once more, byte by byte where it failed: what of it the run did
    not hand out.

    After it: ``emitted``; ``end``, the position in the file behind the byte that was refused.
    """

    def __init__(self, run: _Run) -> None:
        assert run.fault is not None
        self.complaint = run.fault
        self.emitted = run.member_from
        self.end = run.fault_at + 1
        self._run = run

    @property
    def checksum_failed(self) -> bool:
        """True where every byte of the member was decoded, and some of them are wrong."""
        return any(word in self.complaint for word in _CHECKSUM_WORDS)

    @property
    def ends_early(self) -> bool:
        return "fill whole buffer" in self.complaint  # what FastWARC says of a cut lz4 frame

    def blocks(self) -> Iterator[bytes]:
        run = self._run
        run.file.seek(run.member_at)
        for block in self._lz4() if run.compression == "lz4" else self._decoded():
            old = min(len(block), max(0, run.emitted - self.emitted))
            self.emitted += len(block)
            if old < len(block):
                yield block[old:]

    def _decoded(self) -> Iterator[bytes]:
        run = self._run
        decoder = decoder_factory(run.compression, run.limits)()
        coarse = run.fault_at - run.member_at
        for place, piece in _fine_pieces(run.file, coarse, run.compression):
            self.end = run.member_at + place + len(piece)
            try:
                yield from decoder.feed(piece)
            except ERRORS as error:
                self.complaint = str(error)
                return

    def _lz4(self) -> Iterator[bytes]:
        from fastwarc.stream_io import Lz4Reader

        watched = WatchedFile(self._run.file)
        try:
            reader = Lz4Reader(watched)
            reader.read(self._run.emitted - self._run.member_from)
            self.emitted = self._run.emitted
            while block := reader.read(1):
                yield block
        except OSError as error:
            self.complaint = str(error)
        watched.raise_failure()
        self.end = self._run.file.tell()


def _fine_pieces(file: IO[bytes], coarse: int, compression: str) -> Iterator[tuple[int, bytes]]:
    """The rest of a file in pieces, from ``coarse`` on in single bytes."""
    size = BLIND_PIECE_BYTES if compression == "zstd" else _PIECE_BYTES
    position = 0
    while piece := file.read(min(size, coarse - position) if position < coarse else size):
        if position < coarse:
            yield position, piece
        else:
            yield from ((position + place, piece[place : place + 1]) for place in range(len(piece)))
        position += len(piece)


class _Search:
    """Where decoding can begin again behind damage.

    Bytes decoded in vain, or a third time, count against ``Limits.search_bytes``.
    """

    def __init__(self, file: IO[bytes], compression: str, limits: Limits) -> None:
        self._file = file
        self._compression = compression
        self._limits = limits
        self._left = limits.search_bytes
        self._decoded_twice_to = 0

    def decoded_again(self, start: int, end: int) -> None:
        """Book what was decoded from ``start`` to ``end`` of the file to find damage."""
        self._left -= max(0, min(end, self._decoded_twice_to) - start)
        self._decoded_twice_to = max(self._decoded_twice_to, end)

    def next_member(self, start: int) -> int | None:
        """The next position from ``start`` on at which a member begins that can be decoded."""
        for position in self._beginnings(start):
            if self._left <= 0:
                return None
            if self._decodes(position):
                return position
        return None

    def account(self, start: int | None, damaged_to: int) -> str:
        """What the damage costs, for people."""
        if start is not None:
            return f"reading goes on at byte {start}"
        lost = self._file.seek(0, 2) - damaged_to
        if self._left <= 0:
            return (
                f"the search for where it goes on took {self._limits.search_bytes} bytes and was "
                f"given up, {lost} bytes are lost"
            )
        return f"the {lost} bytes behind it are lost" if lost > 0 else "nothing is behind it"

    def _beginnings(self, start: int) -> Iterator[int]:
        """Positions from ``start`` on that look like the beginning of a member."""
        kept, position = b"", start
        self._file.seek(start)
        while block := self._file.read(BLOCK_BYTES):
            buffer = kept + block
            base = position - len(kept)
            position += len(block)
            last = len(buffer) if len(block) < BLOCK_BYTES else len(buffer) - _LONGEST_BEGINNING
            for found in _BEGINNING[self._compression].finditer(buffer):
                if found.start() < last:
                    yield base + found.start()
            kept = buffer[max(0, last) :]
            self._file.seek(position)

    def _decodes(self, position: int) -> bool:
        """True if a member begins there that decodes to some length, or to its end."""
        run = _Run(self._file, self._compression, self._limits, position, 0, _SMALL_BYTES)
        for _ in run.blocks():
            if run.emitted >= _PROOF_BYTES or run.member_at > position:
                return True
        if run.fault is None or run.member_at > position:
            return True
        if self._compression == "lz4" and run.fault_at > position:
            return True
        self._left -= max(_PIECE_BYTES, run.fault_at - position)
        return False
