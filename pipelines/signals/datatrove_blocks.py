"""datatrove's filters and formatters as pure functions of one text.

A block may stand in a recipe if it needs no download, no code in its settings, and nothing of a
document but its text. Each text gets a fresh block, because some carry state from one document to
the next (PIIFormatter takes its replacements in turn) and a document's fate must not hang on its
neighbours.

This module loads little: it is all that the process in which blocks work has to load.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Literal

from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json, library

Words = Literal["datatrove", "whitespace"]


@dataclass(frozen=True)
class Block:
    """Where a block lies under ``datatrove.pipeline`` and what it does to a document."""

    module: str
    drops: bool = True
    rewrites: bool = False
    segments: bool = False  # words or sentences, with the tokenizer of a language


BLOCKS = {
    "C4ParagraphFilter": Block("filters.c4_filters"),
    "C4QualityFilter": Block("filters.c4_filters", rewrites=True, segments=True),
    "FineWebQualityFilter": Block("filters.fineweb_quality_filter", segments=True),
    "GopherQualityFilter": Block("filters.gopher_quality_filter", segments=True),
    "GopherRepetitionFilter": Block("filters.gopher_repetition_filter", segments=True),
    "PIIFormatter": Block("formatters.pii", drops=False, rewrites=True),
    "RegexFilter": Block("filters.regex_filter"),
    "SymbolLinesFormatter": Block("formatters.symbol_lines_remover", drops=False, rewrites=True),
}

REFUSED = {
    "C4BadWordsFilter": "it downloads its word lists",
    "FTFYFormatter": "it needs ftfy, which is not among the tested libraries",
    "FastTextClassifierFilter": "it downloads its model",
    "LambdaFilter": "its setting is code",
    "LanguageFilter": "it downloads its model; use the stage language",
    "SamplerFilter": "its verdict hangs on the documents before, not on the document",
    "URLFilter": "it needs lists and libraries that are not among the tested ones",
    "UnigramLogProbFilter": "it downloads its frequencies",
}

_NOT_SETTINGS = ("self", "exclusion_writer", "batch_size")
_ENGLISH = "en"
_PROBE = (
    "The house stands on a hill above the river, and the people who live in it have been there for "
    "a long time.\n"
    "In the morning they open the windows, and the wind that comes from the sea blows through all "
    "of the rooms.\n"
    "Every visitor is asked to stay with them until the evening, when the boats return to the "
    "little harbour."
)


@dataclass(frozen=True)
class BlockUse:
    """A block with its settings; ``words`` says whose words: datatrove's tokenizer of the language,
    or whitespace.
    """

    block: str
    settings: dict[str, Any] = field(default_factory=dict)
    words: Words = "datatrove"

    @property
    def kind(self) -> Block:
        return BLOCKS[self.block]

    @property
    def segments(self) -> bool:
        """Whether these settings need a tokenizer: C4QualityFilter counts sentences unless told not
        to.
        """
        s = self.settings
        lines_alone = (
            self.block == "C4QualityFilter"
            and s.get("min_num_sentences") == -1
            and s.get("split_paragraph", True)
        )
        return self.kind.segments and not lines_alone

    def check(self) -> None:
        """Raises: UserError for a block or setting that cannot be used, or a word tokenizer that is
        not installed.
        """
        self._check_block()
        self._check_settings()
        self._check_words()
        try:
            self._made()
        except Exception as error:  # whatever their code raises at these settings
            raise self.unusable(f"{type(error).__name__}: {error}") from None

    def probe(self) -> str | None:
        """What goes wrong on a short text at these settings, None where nothing does. It may take
        without end: an expression of the user's may be among the settings.
        """
        try:
            document = _document(_PROBE)
            block = self._made()
            block.filter(document) if self.kind.drops else block.format(document.text)
        except Exception as error:  # whatever their code raises at these settings
            return f"{type(error).__name__}: {error}"
        return None

    def unusable(self, found: str) -> UserError:
        """The error of settings that the block cannot work with."""
        return UserError(
            f"datatrove's {self.block} cannot work with these settings",
            field="settings",
            found=found,
            fix="see the block's documentation for what its settings take",
        )

    def reason(self, text: str) -> str | None:
        """Why datatrove drops this text, in its own words; None where it stays.

        A text its code fails on is dropped with the error's name, ``error_ZeroDivisionError``.
        """
        return self._filtered(text)[1]

    def rewritten(self, text: str) -> str:
        """The text as the block leaves it; a text it drops or fails to filter is left as it was."""
        if self.kind.drops:
            return self._filtered(text)[0]
        try:
            new: str = self._made().format(text)
        except Exception as error:  # whatever their code raises
            raise self._error("failed on a document", error, "settings") from error
        return new

    def changed(self, text: str) -> str | None:
        """The text as the block leaves it, None where that is as it was."""
        new = self.rewritten(text)
        return None if new == text else new

    def tokenizer_libraries(self) -> list[str]:
        """Libraries besides datatrove that decide where a word or sentence ends."""
        if not self.segments or self.words == "whitespace":
            return []
        return [library(name) for name in _TOKENIZER_LIBRARIES if _installed(name)]

    def _filtered(self, text: str) -> tuple[str, str | None]:
        document = _document(text)
        try:
            result = self._made().filter(document)
        except ImportError as error:
            raise self._missing_words(error) from None
        # a document their code fails on is dropped and counted, not the end of the run
        except Exception as error:
            return text, f"error_{type(error).__name__}"
        keep, reason = result if isinstance(result, tuple) else (result, None)
        return (document.text, None) if keep else (text, str(reason or "filtered"))

    def _made(self) -> Any:
        settings = {name: _tuples(value) for name, value in self.settings.items()}
        if self.words == "whitespace":
            settings["language"] = _whitespace_words()
        return _block_class(self.block)(**settings)

    def _check_block(self) -> None:
        if self.block in REFUSED:
            raise UserError(
                f"this datatrove block cannot stand in a recipe: {REFUSED[self.block]}",
                field="block",
                found=self.block,
                allowed=sorted(BLOCKS),
                fix="use it in a pipeline of datatrove's own, before or after the run",
            )
        if self.block not in BLOCKS:
            raise UserError(
                "no such datatrove block",
                field="block",
                found=self.block,
                allowed=sorted(BLOCKS),
                fix="use one of the blocks above",
            )

    def _check_settings(self) -> None:
        parameters = inspect.signature(_block_class(self.block).__init__).parameters
        allowed = sorted(name for name in parameters if name not in _NOT_SETTINGS)
        for name in self.settings:
            if name not in allowed:
                raise UserError(
                    f"{self.block} has no such setting",
                    field=f"settings.{name}",
                    found=name,
                    allowed=allowed or None,
                    fix="use one of the settings above"
                    if allowed
                    else "leave settings out: it has none",
                )
        try:
            canonical_json(self.settings)
        except (TypeError, ValueError) as error:
            raise UserError(
                "a setting is not a plain value",
                field="settings",
                found=error,
                fix="use numbers, strings and lists",
            ) from None

    def _check_words(self) -> None:
        if self.words == "whitespace" and (not self.segments or "language" in self.settings):
            raise UserError(
                "words: whitespace is for blocks that segment words, and goes without a language",
                field="words",
                found=self.settings.get("language", self.block),
                fix="leave out words, or the setting language",
            )
        if self.segments and self.words == "datatrove":
            language = str(self.settings.get("language", _ENGLISH))
            try:
                _segment(language)
            except ValueError:
                raise UserError(
                    "datatrove has no word tokenizer for this language",
                    field="settings.language",
                    found=language,
                    fix="use an ISO 639-1 or 639-3 code, as en or deu",
                ) from None
            except (ImportError, LookupError) as error:
                raise self._missing_words(error) from None

    def _missing_words(self, error: Exception) -> UserError:
        return UserError(
            f"{self.block} segments words with a library that is not installed",
            field="settings.language",
            found=f"{self.settings.get('language', _ENGLISH)}: {error}",
            fix=(
                "pip install 'windtunnel[words]', or write words: whitespace (other words, so "
                "other verdicts)"
            ),
        )

    def _error(self, what: str, error: Exception, place: str) -> UserError:
        return UserError(
            f"datatrove's {self.block} {what}",
            field=place,
            found=f"{type(error).__name__}: {error}",
            fix="see the block's documentation for what its settings take",
        )


_TOKENIZER_LIBRARIES = (
    "spacy", "jieba", "nltk", "stanza", "pyvi", "sudachipy", "kiwipiepy", "pythainlp",
    "indic-nlp-library", "khmer-nltk", "laonlp", "botok", "pyidaungsu-numpy2", "urduhack",
)  # fmt: skip


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _block_class(name: str) -> Any:
    return getattr(importlib.import_module(f"datatrove.pipeline.{BLOCKS[name].module}"), name)


def _document(text: str) -> Any:
    from datatrove.data import Document

    return Document(text=text, id="")


def _segment(language: str) -> None:
    from datatrove.utils.text import split_into_sentences, split_into_words

    split_into_words("One word. Two.", language)
    split_into_sentences("One word. Two.", language)


@functools.cache
def _whitespace_words() -> Any:
    """A word tokenizer of datatrove's kind that splits at whitespace, and sentences as its fallback
    does.
    """
    from datatrove.utils.word_tokenizers import WhitespaceTokenizer

    class WhitespaceWords(WhitespaceTokenizer):  # type: ignore[misc]
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

    return WhitespaceWords()


def _tuples(value: Any) -> Any:
    """YAML lists as tuples, which is what blocks that hand them to ``str.endswith`` need."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
