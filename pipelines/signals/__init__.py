"""Measures: pure functions from a column of text to columns of figures.

A measure never changes text and never judges it; rules judge, over columns, as often as you like.

    language.detect(texts, model)      language and confidence of every text
    gopher.measure(texts)              words, lines, ratios: Gopher's quality measures
    rule_sets.rule_set(name)           rules over such columns, by the name a recipe uses
    rules.evaluate(signals, rules)     which rules would remove a document, and the first reason

Texts are Arrow ``large_string`` columns; results come in the same order, one row per document.

    import pyarrow as pa
    from pipelines.signals import gopher, language, rule_sets, rules

    texts = pa.array(["the cat and the dog", "…"], pa.large_string())
    labels, confidence = language.detect(texts, language.LanguageModel.load())
    signals = gopher.measure(texts)
    chosen = rule_sets.rule_set("gopher_quality", {"min_words": 3})
    mask, reason = rules.evaluate(signals, chosen)
"""
