"""The recipe's section `cluster`: how few distinct weights a kernel keeps, and where."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipeline.fit.config import Compressing


class Config(Compressing):
    """How few distinct weights a kernel keeps, and where."""

    clusters: int = Field(
        default=16, ge=2, le=256, description="most distinct weights in each kernel; where it has zeros, zero is one"
    )
    per_channel: bool = Field(
        default=False, description="each output channel of a kernel has clusters of its own: more exact, less small"
    )
    layers: dict[str, int | None] = Field(
        default={},
        description="numbers of their own, by a layer's name or a pattern (conv_*): at least 2, or null: not clustered",
    )

    @model_validator(mode="after")
    def _possible(self) -> Config:
        wrong = {name: some for name, some in self.layers.items() if some is not None and not 2 <= some <= 256}
        if wrong:
            raise ValueError(f"layers wants numbers from 2 to 256, or null, but has {wrong}")
        return self
