"""Where something else came of a run than doctor foresaw; nowhere, if doctor is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.compress import excluding
from pipeline.doctor.after_shrink import NO_WIDTH
from pipeline.doctor.decided import decided as told
from pipeline.report.document import Artifact
from pipeline.report.forecast import Fate, File, Forecast, Foreseen, Line
from pipeline.report.model import Layer, Model

# what a size, or a number that depends on which channels go, may be off by
FACTOR = 2.0
# what shrink says of groups whose widths were timed, which is not known before
FLAT = "fewer channels are no faster there"


def differences(forecast: Forecast, models: Sequence[Model], artifacts: Sequence[Artifact]) -> list[str]:
    """Return a sentence for each difference between a forecast and what the stages made.

    What the forecast leaves open, as `decided_by` or about, is no difference; see `decided`.

    Args:
        models: what the stages made, those of a run that did not get to its end included.
        artifacts: what was exported, or could not be.
    """
    by_stage = {model.stage: model for model in models if not model.variant}
    line = _line(forecast, by_stage)
    files = {one.id: one for one in line.files}
    found = [
        f"{foreseen.stage}: {text}"
        for foreseen in line.stages
        if foreseen.stage in by_stage
        for text in _of_stage(foreseen, by_stage[foreseen.stage])
    ]
    # layers that sensitivity leaves out compute in float
    opened = any(layer.decided_by for one in line.stages if one.stage == "quantize" for layer in one.layers)
    for artifact in artifacts:
        if artifact.id in files and not artifact.transient:
            kernels = _kernels_float(line, artifact)
            found += [f"{artifact.id}: {text}" for text in _of_file(files[artifact.id], artifact, kernels, opened)]
    return found


def decided(forecast: Forecast, models: Sequence[Model]) -> list[str]:
    """Return a sentence for each thing that a forecast left open and that the run decided."""
    by_stage = {model.stage: model for model in models if not model.variant}
    return told(_line(forecast, by_stage), by_stage)


def _line(forecast: Forecast, models: Mapping[str, Model]) -> Line:
    trained = models.get("train")
    several = trained.several if trained else None
    chosen = several.best if several and several.role == "candidate" and len(forecast.lines) > 1 else 0
    return forecast.lines[chosen]


def _of_stage(foreseen: Foreseen, made: Model) -> Iterator[str]:
    fates = {layer.name: layer for layer in foreseen.layers}
    layers = {layer.name: layer for layer in made.layers}
    if odd := sorted(set(fates) ^ set(layers)):
        yield f"other layers than were foreseen: {', '.join(odd)}"
        return
    for name, layer in layers.items():
        yield from _of_layer(foreseen.stage, fates[name], layer)
    if foreseen.stage == "shrink":
        yield from _of_channels(fates, made)
    for what, wanted, has in (
        ("parameters", foreseen.parameters, made.parameters), ("MACs", foreseen.macs, made.macs)
    ):  # fmt: skip
        if wanted != has and not (foreseen.about and wanted and has and _near(wanted, has)):
            yield f"{has} {what}, foreseen were {'about ' if foreseen.about else ''}{wanted}"


def _of_layer(stage: str, fate: Fate, layer: Layer) -> Iterator[str]:
    worked = {
        "prune": layer.target is not None,
        "cluster": layer.clusters is not None,
        "quantize": layer.precision.startswith("int8"),
    }.get(stage)
    if worked is None or (not worked and fate.decided_by):
        return
    if worked != (fate.how == "yes"):
        why = f" ({fate.reason})" if fate.reason else ""
        yield f"{layer.name} was {'' if worked else 'not '}worked on, foreseen was {fate.how}{why}"
    elif layer.reason != fate.reason and not fate.reason.startswith(NO_WIDTH):
        yield f"{layer.name} was left for another reason: {layer.reason}; foreseen was: {fate.reason}"
    elif stage == "quantize" and worked and layer.precision != fate.made and layer.histogram is not None:
        yield f"{layer.name} computes in {layer.precision}, foreseen was {fate.made}"


def _of_channels(fates: Mapping[str, Fate], made: Model) -> Iterator[str]:
    stays: dict[str, bool] = {}
    for group in made.channels:
        for name in group.layers:
            # timed widths are not known before
            timed = group.reason.startswith(FLAT) or excluding.by_measurement(group.reason)
            left = bool(group.reason) and not timed
            stays[name] = stays.get(name, True) and left
    for name, left in stays.items():
        if name in fates and left != (fates[name].how == "whole"):
            yield f"the channels of {name} {'stay' if left else 'can go'}, foreseen was {fates[name].how}"
    gone = {name for group in made.channels if group.after < group.before for name in group.layers}
    for name in sorted(gone):
        if fates[name].how != "yes":
            yield f"{name} lost channels, foreseen was {fates[name].how}"


def _kernels_float(line: Line, artifact: Artifact) -> bool | None:
    """Return whether a layer with weights stays float in an int8 file that was trained for; None: not such a file."""
    stage = next((one for one in line.stages if one.stage == artifact.stage == "quantize"), None)
    if stage is None:
        return None
    return any(layer.how == "float" and layer.macs for layer in stage.layers)


def _of_file(foreseen: File, made: Artifact, kernels_float: bool | None, opened: bool) -> Iterator[str]:
    if bool(foreseen.refused) != bool(made.error):
        yield f"{made.error or 'it was made'}; foreseen was: {foreseen.refused or 'it can be made'}"
        return
    if made.error:
        return
    if made.batch != foreseen.batch:
        yield f"it takes {made.batch or 'any number of'} samples at once, foreseen was {foreseen.batch or 'any number'}"
    for what, wanted, has in (
        ("bytes", foreseen.bytes, made.bytes), ("bytes after gzip", foreseen.gzip_bytes, made.gzip_bytes)
    ):  # fmt: skip
        if wanted and has and not _near(wanted, has):
            yield f"{has} {what}, foreseen were about {wanted}"
    graph = made.operators
    # what an .onnx computes in integers is the runtime's decision
    if graph is None or made.format != "tflite" or made.precision != "int8":
        return
    if not foreseen.floating and graph.floating and not opened:
        yield f"{graph.floating} operators compute in float, foreseen was none"
    if kernels_float and not graph.floating:
        yield "every operator computes in integers, foreseen were layers that stay float"


def _near(wanted: float, has: float) -> bool:
    return has / FACTOR <= wanted <= has * FACTOR
