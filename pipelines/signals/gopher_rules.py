"""Gopher's rules for English and Chinese, over the columns of :mod:`pipelines.signals.gopher`."""

from __future__ import annotations

from pipelines.signals.rules import Rule, RuleSet

MEASURE = "gopher"

GOPHER_QUALITY = RuleSet(
    "gopher_quality",
    MEASURE,
    (
        Rule("gopher_short_doc", "min_words", "symbol_free_words", "<", 50),
        Rule("gopher_long_doc", "max_words", "symbol_free_words", ">", 100_000),
        Rule("gopher_below_avg_threshold", "min_mean_word_length", "mean_word_length", "<", 3),
        Rule("gopher_above_avg_threshold", "max_mean_word_length", "mean_word_length", ">", 10),
        Rule("gopher_too_many_hashes", "max_hash_ratio", "hash_ratio", ">", 0.1),
        Rule("gopher_too_many_ellipsis", "max_ellipsis_ratio", "ellipsis_ratio", ">", 0.1),
        Rule("gopher_too_many_bullets", "max_bullet_line_ratio", "bullet_line_ratio", ">", 0.9),
        Rule(
            "gopher_too_many_end_ellipsis",
            "max_ellipsis_line_ratio",
            "ellipsis_line_ratio",
            ">",
            0.3,
        ),
        Rule("gopher_below_alpha_threshold", "min_alpha_word_ratio", "alpha_word_ratio", "<", 0.8),
        Rule("gopher_enough_stop_words", "min_stop_words", "stop_words", "<", 2),
    ),
    languages=("en",),
)
"""Rae et al. 2021 (arXiv 2112.11446, table A1) as datatrove 0.10 implements it, for English."""

GOPHER_QUALITY_ZH = RuleSet(
    "gopher_quality_zh",
    MEASURE,
    (
        Rule("gopher_short_doc", "min_cjk_characters", "cjk_characters", "<", 80),
        Rule("gopher_long_doc", "max_cjk_characters", "cjk_characters", ">", 160_000),
        Rule("gopher_too_many_hashes", "max_hash_ratio", "hashes", ">", 0.1, per="cjk_characters"),
        Rule(
            "gopher_too_many_ellipsis",
            "max_ellipsis_ratio",
            "ellipses",
            ">",
            0.1,
            per="cjk_characters",
        ),
        Rule("gopher_too_many_bullets", "max_bullet_line_ratio", "bullet_line_ratio", ">", 0.9),
        Rule(
            "gopher_too_many_end_ellipsis",
            "max_ellipsis_line_ratio",
            "ellipsis_line_ratio",
            ">",
            0.3,
        ),
        Rule(
            "gopher_below_alpha_threshold",
            "min_alpha_character_ratio",
            "alpha_character_ratio",
            "<",
            0.6,
        ),
    ),
    languages=("zh",),
)
"""Gopher's rules for Chinese, which has no white space between words, so that sizes are in
characters.

- Document length: 50 and 100,000 words at about 1.6 characters a word.
- ``#`` and ellipses per Chinese character, at Gopher's 0.1; a Chinese ellipsis is two U+2026.
- Line rules: unchanged, as in FineWeb-2 (``configs/cmn_Hani.yml``).
- Letters: FineWeb-2 asks for a letter in 0.735 of the words of a segmenter, which counts every
  punctuation mark as a word. Of visible characters, letters are 0.78 to 0.85 in Chinese prose and
  verse and 0.65 to 0.78 in good technical writing with code and markup; under 0.6 are tables of
  numbers and markup.
- No mean word length (FineWeb-2: 1 to 5, on segmented words) and no stop words: both need words.
"""
