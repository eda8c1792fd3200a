"""Signals: pure functions from a column of text to columns of figures.

    texts ─ language.detect ─▶ language and confidence of every text
    texts ─ gopher.measure ─▶ words, lines, ratios: Gopher's quality measures
    name ─ rule_sets.rule_set ─▶ rules over such figures, by the name a recipe uses
    figures, rules ─ rules.evaluate ─▶ which rules would remove a document, the first reason
    text ─ datatrove_blocks ─▶ what a filter or formatter of datatrove says of it, or makes of it

A measure of ours never changes text and never judges it; rules judge, over columns, as often as
you like. Texts are Arrow ``large_string`` columns; results come in the same order, one row per
document.

>>> import pyarrow as pa
>>> from pipelines.signals import gopher, language
>>> texts = pa.array(
...     ["the cat and the dog are in the garden", "今天天气很好，我们去公园散步"], pa.large_string()
... )
>>> labels, confidence = language.detect(texts, language.LanguageModel.load())
>>> labels.to_pylist()
['en', 'zh']
>>> gopher.measure(texts)["words"].to_pylist()
[9, 1]
"""
