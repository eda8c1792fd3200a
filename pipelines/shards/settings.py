"""The recipe's parts for the tokenizer and for token shards."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    Field,
    model_validator,
)

from artifacts.errors import UserError
from artifacts.settings import LATER, Part
from mixtures.spec.bands import held_out_of
from pipelines.shards.split import Split, check_bands


class TokenizerSettings(Part):
    """Training of the tokenizer on a weighted sample of the selected documents; or one that is
    there already.
    """

    model: Annotated[str | None, LATER] = Field(
        default=None,
        description="a SentencePiece model, or a folder that holds a tokenizer.model (a "
        "checkpoint, an export): nothing is trained",
    )

    vocab_size: Annotated[int, Field(ge=512, le=1 << 20)] = 32_768
    sample: dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        default=None, description="share of the sample's bytes per source; default: by size"
    )
    sample_mib: Annotated[float, Field(gt=0)] = 64.0
    character_coverage: Annotated[float, Field(ge=0.98, le=1.0), LATER] = Field(
        default=0.9995,
        description="share of the sample's characters that get a piece; a small vocabulary needs "
        "a lower one",
    )

    @model_validator(mode="after")
    def _a_given_model_is_not_trained(self) -> TokenizerSettings:
        said = sorted(self.model_fields_set - {"model"})
        if self.model is not None and said:
            raise UserError(
                "a tokenizer that is given is not trained",
                field=f"tokenizer.{said[0]}",
                found=getattr(self, said[0]),
                fix="leave it out, or leave tokenizer.model out",
            )
        return self


class ShardSettings(Part):
    """Token shards."""

    part_mtokens: Annotated[float, Field(ge=1e-6)] = Field(
        default=256.0, description="millions of tokens per part"
    )
    hold_out: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description=f"share of each source's documents set aside as {held_out_of('SOURCE')}",
    )
    split: dict[str, Split] = Field(
        default={},
        description="sources cut by a number into bands, each a source SOURCE/BAND of shards",
    )

    @model_validator(mode="after")
    def _bands_fit_together(self) -> ShardSettings:
        for source, split in self.split.items():
            check_bands(split.bands, ("shards", "split", source, "bands"))
        return self

    def sources_of(self, source: str) -> tuple[str, ...]:
        """Names of the shard sources that a source's documents go to, held-out ones left out:
        itself, or its bands.
        """
        return (
            tuple(f"{source}/{band}" for band in self.split[source].bands)
            if source in self.split
            else (source,)
        )
