"""What a run decided of what a forecast left open: what sensitivity left out, and which channels shrink chose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.compress import excluding
from pipeline.report.forecast import Foreseen, Line
from pipeline.report.model import Layer, Model

_MOST = 8


def decided(line: Line, models: Mapping[str, Model]) -> list[str]:
    """Return a sentence for each thing that was left open and that is known by now.

    Args:
        line: what was foreseen of the model that went on.
        models: stage -> what it made.
    """
    return [
        f"{foreseen.stage}: {text}"
        for foreseen in line.stages
        if foreseen.stage in models
        for text in _of_stage(foreseen, models[foreseen.stage])
    ]


def _of_stage(foreseen: Foreseen, made: Model) -> Iterator[str]:
    layers = {layer.name: layer for layer in made.layers}
    measured = [layer.name for layer in foreseen.layers if "sensitivity" in layer.decided_by]
    if measured:
        yield from _excluded(foreseen.stage, measured, layers, made)
    if foreseen.stage == "shrink":
        yield from _channels(made)
        # what follows has as many
        yield from _amounts(foreseen, made)
    else:
        yield from _fitted([layer.name for layer in foreseen.layers if "shrink" in layer.decided_by], layers)


def _excluded(stage: str, measured: Sequence[str], layers: Mapping[str, Layer], made: Model) -> Iterator[str]:
    reasons = {name: layers[name].reason for name in measured if name in layers}
    if stage == "shrink":
        reasons = {name: group.reason for group in made.channels for name in group.layers if name in measured}
    out = {name: reason for name, reason in reasons.items() if excluding.by_measurement(reason)}
    if not out:
        yield f"{excluding.NOTHING}"
    for name, reason in out.items():
        yield f"{name} is left out: {reason}"


def _channels(made: Model) -> Iterator[str]:
    if groups := [group for group in made.channels if not group.reason]:
        yield "channels that stay: " + _listed(
            [f"{group.after} of {group.before} in {', '.join(group.layers)}" for group in groups], "; "
        )


def _fitted(names: Sequence[str], layers: Mapping[str, Layer]) -> Iterator[str]:
    fits = [name for name in names if name in layers and layers[name].target is not None]
    if fits:
        yield f"the pattern fits {_listed(fits)}"
    for name in names:
        if name in layers and name not in fits and not excluding.by_measurement(layers[name].reason):
            yield f"{name} stays dense: {layers[name].reason}"


def _listed(texts: Sequence[str], between: str = ", ") -> str:
    more = f"{between}and {len(texts) - _MOST} more" if len(texts) > _MOST else ""
    return between.join(texts[:_MOST]) + more


def _amounts(foreseen: Foreseen, made: Model) -> Iterator[str]:
    for what, wanted, has in (
        ("parameters", foreseen.parameters, made.parameters), ("MACs", foreseen.macs, made.macs)
    ):  # fmt: skip
        if wanted and has and wanted != has:
            yield f"{has:,} {what}, foreseen were about {wanted:,}"
