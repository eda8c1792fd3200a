"""Streams: inputs opened, decompressed in bounded blocks, and honest about damage.

    path or URL ─ opened ─▶ a file ─ decoding (decoders, zstd_pieces) ─▶ blocks of bytes, Damage
    blocks ─ bytestream ─▶ read like a file, and looked ahead into

Behind damage reading goes on at the next member that decodes. What a checksum failed on is named by
its offsets, which stand in :class:`~pipelines.readers.streams.damage.Damage`.

>>> import gzip, io
>>> from pipelines.readers import Limits
>>> from pipelines.readers.streams.decoding import blocks
>>> packed = gzip.compress(b"one line\\n")
>>> list(blocks(io.BytesIO(packed), "gzip", Limits()))
[b'one line\\n']
>>> *_, damage = blocks(io.BytesIO(packed[:-9]), "gzip", Limits())
>>> damage.reason
'truncated_stream'
"""
