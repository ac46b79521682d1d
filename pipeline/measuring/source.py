"""Where a model answers: a file in the measuring process, or an endpoint. Imports nothing of weight."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serving.client.endpoint import Endpoint


@dataclass(frozen=True)
class File:
    """An exported file that runs in this process; `form` is "saved_model", "tflite" or "onnx"."""

    form: str
    path: Path

    def __str__(self) -> str:
        return self.path.name


Source = File | Endpoint
