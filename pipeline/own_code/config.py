"""The section of a model that the user's own function builds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from pipeline.config import NEUTRAL, Frozen


class Builder(Frozen):
    """A model that a function of the user's own builds: build(input_shape, classes, **options)."""

    architecture: Literal["builder"] = "builder"
    # what decides is the code: see `source.surroundings`
    builder: Annotated[str, NEUTRAL] = Field(
        min_length=1,
        description="path/to/file.py:function, called with the shape of a sample, the number of classes and the "
        "options; it returns a tf_keras model that takes raw values and ends in logits. For a regression: the number "
        "of values in place of the classes, ending in values in their units; for a reconstruction: the shape of the "
        "sample, ending in the sample scaled to [0, 1]. The file's code runs here, with your rights; what lies beside "
        "it is imported relatively (from .blocks import Residual)",
    )
    options: dict[str, JsonValue] = Field(default={}, description="keyword arguments for the function")
    loss: str | None = Field(
        default=None,
        description="a name in that file, to be trained with in place of the cross-entropy: a function of (labels "
        "int64 [n], logits [n, classes]), or a tf_keras Loss",
    )
    metrics: tuple[str, ...] = Field(
        default=(),
        description="names in that file, shown while it trains and in its curves: functions of (labels, logits), or "
        "tf_keras Metrics",
    )

    @model_validator(mode="after")
    def _named(self) -> Builder:
        path, colon, function = self.builder.rpartition(":")
        if not (colon and path.endswith(".py") and function.isidentifier()):
            raise ValueError(f"builder: expected path/to/file.py:function, found {self.builder!r}")
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError(f"metrics names one twice: {', '.join(self.metrics)}")
        return self

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.builder.rpartition(":")[0])

    @property
    def function(self) -> str:
        """The name of the function in it."""
        return self.builder.rpartition(":")[2]

    def decisive(self) -> dict[str, Any]:
        """Return what a result depends on: the function's name, wherever the file lies."""
        return super().decisive() | {"function": self.function}


def written_out(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a recipe's mapping with `{path: FILE}` and `{builder: FILE:FUNCTION}` written out as architectures,
    and of the data as a source."""
    found = {key: _whole(document.get(key)) for key in ("model",) if key in document}
    distill = document.get("distill")
    if isinstance(distill, dict) and "student" in distill:
        found["distill"] = {**distill, "student": _whole(distill["student"])}
    data = document.get("data")
    if isinstance(data, dict) and data.get("builder") and "source" not in data:
        found["data"] = {"source": "builder", **data}
    return {**document, **found}


def _whole(model: Any) -> Any:
    """Return a model's section with its architecture: nothing but a file has a path, and nothing else a builder."""
    if isinstance(model, dict) and "architecture" not in model:
        for key, architecture in (("builder", "builder"), ("path", "file")):
            if key in model:
                return {"architecture": architecture, **model}
    return model


def risks(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the code that a recipe would run, whoever wrote it."""
    distill = document.get("distill")
    student = distill.get("student") if isinstance(distill, dict) else None
    for key, model in (("model", document.get("model")), ("distill.student", student)):
        if isinstance(model, dict) and model.get("builder"):
            yield f"{key}.builder={model['builder']}"
    data = document.get("data")
    if isinstance(data, dict) and data.get("builder"):
        yield f"data.builder={data['builder']}"
