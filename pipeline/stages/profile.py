"""profile: how long the model's layers take at several widths, in the runtime that shrink.latency names.

Times depend on the machine's mood, so they are a stored artifact of their own: shrink, given them, always chooses the
same widths, and another `importance` measures nothing again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipeline import machine
from pipeline.events import Emit, Note, Progress
from pipeline.measuring.layer_times_config import LatencyTarget, TimedIn
from pipeline.stage import Job, Result, Surroundings

if TYPE_CHECKING:
    import numpy as np

    from pipeline.predictor import Spec

NAME = "profile"
INPUTS = ("import", "train", "distill", "prune", "cluster")
CODE = (
    "pipeline/compress/__init__.py",
    "pipeline/compress/channel_counts.py",
    "pipeline/compress/channel_graph.py",
    "pipeline/compress/channel_ids.py",
    "pipeline/compress/channel_rules",
    "pipeline/compress/channel_walk.py",
    "pipeline/compress/importance.py",
    "pipeline/compress/operators.py",
    "pipeline/compress/support.py",
    "pipeline/compress/widths.py",
    "pipeline/ending.py",
    "pipeline/formats/__init__.py",
    "pipeline/formats/by_layer.py",
    "pipeline/formats/custom_code.py",
    "pipeline/formats/endings.py",
    "pipeline/formats/ends.py",
    "pipeline/formats/keras_config.py",
    "pipeline/formats/keras_file.py",
    "pipeline/formats/labels.py",
    "pipeline/formats/onnx",
    "pipeline/formats/operators.py",
    "pipeline/formats/plain/__init__.py",
    "pipeline/formats/plain/model.py",
    "pipeline/formats/precisions.py",
    "pipeline/formats/recurrent.py",
    "pipeline/formats/saved_model.py",
    "pipeline/formats/text_graph.py",
    "pipeline/formats/tflite",
    "pipeline/isolate.py",
    "pipeline/legacy_keras.py",
    "pipeline/machine.py",
    "pipeline/measuring/layer_measuring.py",
    "pipeline/measuring/layer_operations.py",
    "pipeline/measuring/layer_plan.py",
    "pipeline/measuring/layer_programs",
    "pipeline/measuring/layer_times.py",
    "pipeline/measuring/layer_times_config.py",
    "pipeline/measuring/layer_timing.py",
    "pipeline/measuring/macs.py",
    "pipeline/metric.py",
    "pipeline/own_code/__init__.py",
    "pipeline/own_code/config.py",
    "pipeline/own_code/package.py",
    "pipeline/own_code/source.py",
    "pipeline/predictor.py",
    "pipeline/rows.py",
    "pipeline/signature.py",
    "pipeline/stages/profile.py",
    "pipeline/vectorizer.py",
)
LIBRARIES = (
    "tensorflow", "tf_keras", "tf2onnx", "onnx", "onnxslim", "ai-edge-litert", "onnxruntime", "numpy"
)  # fmt: skip

_SAMPLES = 16  # that fix the ranges of an int8 model


class Shrinking(Protocol):
    """What it reads of the section shrink."""

    @property
    def latency(self) -> LatencyTarget | None: ...
    @property
    def multiple(self) -> int | None: ...
    @property
    def min_share(self) -> float: ...
    @property
    def layers(self) -> Mapping[str, float | None]: ...


@dataclass(frozen=True)
class Wanted:
    """What decides a table besides the model and the machine; `layers` is only checked before anything is timed."""

    timed_in: TimedIn
    multiple: int | None
    min_share: float
    layers: Mapping[str, float | None]


def surroundings(emit: Emit, *, shrink: Shrinking) -> Surroundings:  # noqa: ARG001 - every stage's have the same face
    """Return the machine, and of the section shrink what decides the times: the runtime and the widths."""
    assert shrink.latency is not None
    timed_in = TimedIn.model_validate(shrink.latency.model_dump(include=set(TimedIn.model_fields)))
    decisive = {
        "cpu": machine.cpu(), "cores": machine.cores(), **timed_in.decisive(), "multiple": shrink.multiple,
        "min_share": shrink.min_share,
    }  # fmt: skip
    return Surroundings(decisive, Wanted(timed_in, shrink.multiple, shrink.min_share, shrink.layers))


def run(job: Job) -> Result:
    """Time the layers of the model that comes in; the folder gets layer_times.json (`measuring/layer_times.py`).

    It reads no section: what it wants of shrink's comes with its surroundings, and no more enters its fingerprint.

    Raises:
        InputError: the model has no channels that can be removed, or not those that shrink.layers names.
        RunError: the model does not run in the runtime.
    """
    from pipeline.compress import channel_graph, widths
    from pipeline.formats import keras_file
    from pipeline.measuring import layer_measuring, layer_plan, layer_times

    wanted: Wanted = job.found
    folder = list(job.inputs.values())[-1].folder
    model, spec = keras_file.read(folder)
    graph = channel_graph.follow(model)
    names = [layer.name for layer in model.layers]
    multiple, least = wanted.multiple, wanted.min_share
    widths.allowed(graph, names, multiple=multiple, min_share=least, layers=wanted.layers)  # or shrink would refuse it
    allowed = widths.allowed(graph, names, multiple=multiple, min_share=least, layers={})
    entries, untimed = layer_plan.plan(model, graph, allowed, wanted.timed_in.runtime)

    def tell(done: int, total: int, item: str) -> None:
        job.emit(Progress(NAME, "operation", done, total, item=item))

    found = layer_measuring.measure(folder, entries, untimed, wanted.timed_in, _samples(spec), job.work, tell=tell)
    for name, reason in found.table.untimed.items():
        job.emit(Note(NAME, f"{name} is not timed, and counts as a constant: {reason}", level="warning"))
    layer_times.write(found.table, job.folder)
    metrics = {
        "operations": len(found.table.entries), "untimed_layers": len(found.table.untimed),
        "whole_ms": found.table.whole_ms, "sum_ms": found.table.sum_ms,
    }  # fmt: skip
    return Result(metrics, found.transient)


def _samples(spec: Spec) -> dict[str, np.ndarray]:
    """Return raw samples within the ranges of the model's inputs: their values do not decide how long it takes."""
    import numpy as np

    random = np.random.default_rng(0)
    return {
        one.name: random.uniform(*one.value_range, (_SAMPLES, *one.shape)).astype(
            np.float32 if one.vectorizer is None else np.int32
        )
        for one in spec.inputs
    }
