"""The base of every typed config: frozen, strict about keys, and dumped with every default visible."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A config that cannot be changed, refuses unknown keys and takes no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, defer_build=True)
