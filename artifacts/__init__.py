"""Artifacts, the ground floor: what every other floor needs to lose nothing and make nothing twice.

    inputs ─ content_key ─▶ a key ─ publish ─▶ a unit of files, its manifest last ─▶ found again

    ids            128-bit document ids that depend on source and key alone
    schemas        Arrow schemas of all tables, with format versions
    paths          a store: one root, local or behind fsspec, whole-file writes
    publish        units under content keys, manifest last
    books          JSON with a checksum of itself, and who is told of damage
    fingerprints   what an output's key is made of
    ledger         in = kept + dropped + quarantined
    errors         what a user is told: file, field, found, allowed, fix
    settings       the base of every part of a recipe
    statistics     intervals, tests against a margin, seeds needed
    tables, text_buffers, strides, keyed_hash, jit, lock

Write something once, find it ever after:

>>> from artifacts.fingerprints import content_key
>>> from artifacts.paths import Store
>>> from artifacts.publish import publish, published
>>> store = Store("runs/greeting")
>>> inputs = {"work": "greeting", "version": 1}
>>> prefix = f"signals/greeting/{content_key(inputs)}"
>>> if published(store, prefix) is None:
...     with publish(store, prefix, inputs) as unit, unit.file("hello.txt") as out:
...         print(out.raw.write(b"hello"), "bytes")
5 bytes
>>> store.read(published(store, prefix).file("hello.txt").name)
b'hello'
"""
