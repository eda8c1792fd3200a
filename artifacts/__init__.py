"""Artifacts: the ground floor. What every other floor needs to lose nothing and to make everything
once.

    ids            128-bit document ids that depend on source and key alone
    schemas        Arrow schemas of all tables, with format versions
    paths          a store: one root, local or behind fsspec, whole-file writes
    publish        units under content keys, manifest last
    fingerprints   what an output's key is made of
    ledger         in = kept + dropped + quarantined
    lock, errors, keyed_hash, tables, jit

Write something once, find it ever after::

    from artifacts.fingerprints import content_key
    from artifacts.paths import Store
    from artifacts.publish import publish, published

    store = Store("runs/example")
    inputs = {"work": "greeting", "version": 1}
    prefix = f"signals/greeting/{content_key(inputs)}"
    if published(store, prefix) is None:
        with publish(store, prefix, inputs) as unit, unit.file("hello.txt") as out:
            out.raw.write(b"hello")
"""
