"""How latency is measured, as a part of the recipe; without numpy, so that a recipe is checked fast."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from pipeline.config import Frozen


class LatencyConfig(Frozen):
    """Blocks, their length, and how sure a percentile must be. A shorter block is noisier, more blocks take longer."""

    blocks: int = Field(
        default=5,
        ge=5,
        le=1000,
        description="Blocks per model; the models of one runtime take turns, and each turn gives one ratio.",
    )
    min_block_ms: int = Field(
        default=150, ge=10, le=600_000, description="A block of single queries lasts at least this long."
    )
    max_block_ms: int = Field(
        default=60_000,
        ge=10,
        le=3_600_000,
        description="A block ends after this time even with too few queries; its result is then not valid.",
    )
    min_queries: int = Field(
        default=1,
        ge=1,
        le=10_000_000,
        description="A block has at least this many queries; raised to what the percentile needs (662 for 0.99).",
    )
    percentile: float = Field(
        default=0.99,
        ge=0.5,
        le=0.999,
        description="The percentile that a block of single queries must be long enough for.",
    )
    warmup_queries: int = Field(
        default=50, ge=1, le=100_000, description="Queries before a model's first block, not counted."
    )
    block_warmup_queries: int = Field(
        default=5, ge=0, le=100_000, description="Queries before each block, not counted: the other model was running."
    )
    batch_size: int = Field(default=32, ge=2, le=65_536, description="Samples per query when throughput is measured.")
    batch_min_block_ms: int = Field(
        default=100, ge=10, le=600_000, description="A block of batches lasts at least this long."
    )
    batch_percentile: float = Field(
        default=0.90,
        ge=0.5,
        le=0.999,
        description="The percentile that a block of batches must be long enough for (0.90 needs 64 queries).",
    )

    @model_validator(mode="after")
    def _check_durations(self) -> Self:
        longest = max(self.min_block_ms, self.batch_min_block_ms)
        if self.max_block_ms < longest:
            raise ValueError(
                f"max_block_ms is {self.max_block_ms}, but a block lasts at least {longest} ms: "
                "raise max_block_ms or lower min_block_ms and batch_min_block_ms"
            )
        return self
