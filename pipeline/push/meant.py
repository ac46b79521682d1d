"""Whether an artifact is there to be served, and by the server of a place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import GateError
from serving.layout import GRAPH, LITE

if TYPE_CHECKING:
    from pipeline.report.document import Artifact
    from serving.publishing import Newest


def require(item: Artifact, newest: Newest | None) -> None:
    """Raise GateError for what a server would load for nothing, or not load at all.

    Args:
        item: what is pushed.
        newest: the version of the place that is served now; None: there is none.
    """
    if item.format == "saved_model" and item.precision == "fake-quant":
        raise GateError(
            f"{item.id} is not to be served", expected="a float SavedModel, or the int8 .tflite",
            found="a graph that imitates int8 in float, which is not faster for it",
            todo="name another artifact (`modelmill show` lists them), or push it all the same: --force",
        )  # fmt: skip
    if item.format == "tflite" and newest is not None and GRAPH in newest.files and LITE not in newest.files:
        raise GateError(
            f"{item.id} is not loaded by a server without --prefer_tflite_model, which {newest.at} does not need",
            expected=f"a base path whose newest version is a {LITE}, or one without versions", found=f"a {GRAPH}",
            todo="start the server with --prefer_tflite_model=true and push it with --force, or choose another --to",
        )  # fmt: skip
