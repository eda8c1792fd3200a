"""The language stage: what language each document is in, and which are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar
from unicodedata import unidata_version

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from artifacts.errors import UserError
from pipelines.signals.language import UNDETERMINED, LanguageModel, detect
from pipelines.signals.language_names import LANGUAGES, MACROLANGUAGES, nearest_language
from pipelines.stages.base import RowVerdict, StageSettings, Step, Surroundings
from pipelines.stages.chunk_steps import ChooseStep, MeasureStep
from pipelines.stages.verdicts import first_reason

MEMBERS = {
    "ar": ("ary", "arz"),
    "he": ("hbo",),
    "ku": ("sdh",),
    "lv": ("ltg",),
    "no": ("nn",),
    "uz": ("uzs",),
    "zh": ("wuu", "yue"),
}
"""Labels of the model that are kept with another one: members of a macrolanguage (ISO 639-3), and
Ancient Hebrew, which the model takes modern Hebrew for.
"""


class LanguageStage(StageSettings):
    """Identify the language of each document and keep the listed ones.

    The model is the one py3langid ships (a naive Bayes over byte n-grams, 136 languages), walked by
    a kernel over the Arrow bytes; it looks at the first ``max_bytes`` of each document. What it
    takes for a member of a macrolanguage, such as Wu, is given as the macrolanguage, ``zh``, unless
    ``keep`` names the member. Keeping a macrolanguage keeps its members.
    """

    kind: ClassVar[str] = "language"

    keep: tuple[str, ...] | None = Field(
        default=None, description="ISO 639 codes to keep, und for undecidable; default: all"
    )
    min_score: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="drop documents whose best language is less sure than this",
    )
    max_bytes: int = Field(
        default=2000, ge=64, le=1 << 20, description="how much of each document is looked at"
    )
    macrolanguages: bool = Field(
        default=True,
        description="give members of macrolanguages as these: wuu, yue as zh, hbo as he",
    )

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        for code in self.keep or ():
            if code not in LANGUAGES and code != UNDETERMINED:
                meant = nearest_language(code)
                raise UserError(
                    "no such language",
                    field=(name, "keep"),
                    found=code,
                    allowed=[*LANGUAGES, UNDETERMINED],
                    fix="use the model's codes"
                    if meant is None
                    else f"write {meant} for {LANGUAGES[meant]}",
                )
        measure = self.language_measure(name)
        if self.keep is None and self.min_score == 0:
            return [measure]
        return [
            measure,
            ChooseStep(name, LanguageChoose(self.keep, self.min_score, name), self.sources),
        ]

    def language_measure(self, name: str) -> Step:
        folded = tuple(
            (label, language)
            for label, language in sorted(MACROLANGUAGES.items())
            if self.macrolanguages and label not in (self.keep or ())
        )
        return MeasureStep(name, LanguageMeasure(self.max_bytes, folded), self.sources)


@dataclass(frozen=True)
class LanguageMeasure:
    """Columns ``language`` (ISO 639-1, ``und`` when undecidable) and ``language_score`` (0 to 1).

    ``folded``: (label of the model, label that it is given as).
    """

    max_bytes: int
    folded: tuple[tuple[str, str], ...] = ()
    version: ClassVar[int] = 2
    libraries: ClassVar[tuple[str, ...]] = ("numba", "py3langid")

    def settings(self) -> dict[str, Any]:
        return {
            "max_bytes": self.max_bytes,
            "unicode": unidata_version,
            "folded": [list(pair) for pair in self.folded],
        }

    def fields(self) -> list[pa.Field]:
        return [pa.field("language", pa.string()), pa.field("language_score", pa.float32())]

    def measure(self, documents: pa.RecordBatch, resource: pa.Table | None) -> list[pa.Array]:
        model, folded = LanguageModel.load(), dict(self.folded)
        language, score = detect(documents["text"], model, self.max_bytes, folded)
        return [language, score]


@dataclass(frozen=True)
class LanguageChoose:
    """Drops other languages (``language_not_kept``) and unsure ones (``language_unsure``)."""

    keep: tuple[str, ...] | None
    min_score: float
    measure: str
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.measure,)

    def settings(self) -> dict[str, Any]:
        return {"keep": self._kept(), "min_score": self.min_score}

    def _kept(self) -> list[str] | None:
        """The languages to keep, members of macrolanguages included."""
        if self.keep is None:
            return None
        return sorted(
            {
                *self.keep,
                *(member for language in self.keep for member in MEMBERS.get(language, ())),
            }
        )

    def choose(self, signals: dict[str, pa.Table]) -> RowVerdict:
        table = signals[self.measure]
        score = table["language_score"].to_numpy()
        rules = np.zeros(len(table), np.uint64)
        languages = self._kept()
        if languages is not None:
            kept = pc.is_in(table["language"], pa.array(languages, pa.string())).to_numpy()
            rules |= np.where(kept, 0, 1).astype(np.uint64)
        rules |= np.where(score < np.float32(self.min_score), 2, 0).astype(np.uint64)
        reasons = ("language_not_kept", "language_unsure")
        return RowVerdict(reasons, rules, first_reason(reasons, rules))
