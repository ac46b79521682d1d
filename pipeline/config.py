"""The base of every typed config: frozen, strict about keys, and dumped with every default visible."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

# marks a key, as Annotated[..., NEUTRAL], that changes how long something takes or how it is judged, never a result
NEUTRAL = "neutral"


class Frozen(BaseModel):
    """A config that cannot be changed, refuses unknown keys and takes no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, defer_build=True)

    def decisive(self) -> dict[str, Any]:
        """Return the plain dump without the NEUTRAL keys: what a result depends on."""
        found: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if NEUTRAL not in field.metadata:
                plain = self.model_dump(mode="json", include={name})[name]
                found[name] = value.decisive() if isinstance(value, Frozen) else plain
        return found
