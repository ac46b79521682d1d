"""What the terminal and the page say in the same words: numbers, places, captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from pipeline.metric import Metric, of_key
from pipeline.report.document import Artifact, Bought, Faster, Fastest, Gate, Latency, Report, Run
from pipeline.report.model import Model
from pipeline.report.quality import metrics_of
from pipeline.report.quality import qualities as qualities

PROTOCOLS = {"grpc": "gRPC", "rest": "REST"}
_RUNTIMES = {
    "litert": "LiteRT",
    "onnxruntime": "ONNX Runtime",
    "tflite-micro": "TFLite Micro",
    "tensorflow": "TensorFlow",
    "device": "the device",
}
_NOUNS = {"macs": "MACs", "latency_ms": "ms by the table of layer times"}  # of a stage's metrics


def number(value: float | None) -> str:
    """Return a count in full, up to a billion, and anything else in four digits."""
    if value is None:
        return "unknown"
    return f"{value:,.0f}" if abs(value) < 1e9 and value == int(value) else f"{value:.4g}"


def told(metrics: Mapping[str, float]) -> list[str]:
    """Return a stage's metrics as parts of a line: amounts with what they were before, and what is not them in words.

    "val_loss 0.25", "1,493,632 -> 702,000 MACs (47 %)", "12 groups", "3 left alone", "at most 16 distinct weights".
    """
    amounts = {name for name in metrics if not name.startswith("val_") and f"{name}_before" in metrics}
    parts = []
    for name, value in metrics.items():
        if name in amounts:
            before = metrics[f"{name}_before"]
            share = f" ({100 * value / before:.0f} %)" if before else ""
            parts.append(f"{number(before)} -> {number(value)} {_NOUNS.get(name, name)}{share}")
        elif name == "groups":
            parts.append(f"{number(value)} group{'' if value == 1 else 's'}")
        elif name in ("left_groups", "left_layers"):
            parts.append(f"{number(value)} left alone")
        elif name == "clustered_layers":
            parts.append(f"{number(value)} layer{'' if value == 1 else 's'} clustered")
        elif name == "distinct_weights":
            parts.append(f"at most {number(value)} distinct weights")
        elif name.removesuffix("_before") not in amounts:
            parts.append(f"{name} {number(value)}")
    return parts


def kilobytes(count: int | None) -> str:
    """Return bytes as kB (1000 bytes)."""
    return "-" if count is None else f"{count / 1000:,.1f}"


def size(count: int) -> str:
    """Return bytes with their unit: "330 bytes", "94.8 kB", "12.3 MB" (1e6 bytes)."""
    return f"{count:,} bytes" if count < 1000 else f"{kilobytes(count)} kB" if count < 1e6 else f"{count / 1e6:,.3g} MB"


def milliseconds(value: float) -> str:
    """Return milliseconds, to the microsecond below 10 ms, and with fewer places above."""
    return f"{value:.3f}" if value < 10 else f"{value:.2f}" if value < 100 else f"{value:,.1f}"


def percent(share: float) -> str:
    """Return a share as a number of per cent."""
    return f"{100 * share:.1f}"


def metric(name: str, value: float) -> str:
    """Return a metric's value by its key in report.json: an error or R2 as it is, shares of samples in per cent."""
    return of_key(name)[1].text(value)


def size_ratio(artifact: Artifact, report: Report) -> str:
    """Return gzipped bytes of the reference over the artifact's."""
    reference = next((item for item in report.artifacts if item.id == report.reference), None)
    if reference is None or not reference.gzip_bytes or not artifact.gzip_bytes:
        return "-"
    return f"{reference.gzip_bytes / artifact.gzip_bytes:.1f}x"


def place(run: Run) -> str:
    """Return where an artifact ran: the runtime, or the protocol and the target that served it."""
    return f"{run.protocol}, {run.target}" if run.protocol else run.runtime


def threads(run: Run) -> str:
    """Return with how many threads an artifact ran."""
    return f"{'unknown' if run.threads is None else run.threads} thread{'' if run.threads == 1 else 's'}"


def serving(report: Report) -> list[str]:
    """Return sentences on how the SavedModels were served: by what, why not by another target, and what they survived.

    Empty where nothing was served.
    """
    if report.serving is None:
        return []
    runs = [run for artifact in report.artifacts for run in artifact.runs if run.protocol]
    if not runs:
        return [f"To be served by {report.serving.target}: no figures came of it"]
    lines = [f"Served by {report.serving.target}"]
    if server := runs[0].server:
        named = " ".join(part for part in (server["implementation"], server["version"]) if part)
        image = f" in {server['image']}" if server["image"] else ""
        over = dict.fromkeys(f"{run.protocol} ({run.encoding})" for run in runs)
        lines[0] += f": {named}{image}, over {' and '.join(over)}"
        asked = {"model": "model", "model_version": "version", "label": "label"}
        if server.get("address"):
            which = " ".join(f"{word} {server[key]}" for key, word in asked.items() if server.get(key))
            lines[0] += f"; asked was {which} at {server['address']}"
        if server["implementation"] == "modelmill":
            lines[0] += "; these are the figures of our own server, not TF Serving's"
    lines += [f"Not {name}: {reason}" for name, reason in report.serving.passed_over.items()]
    loose = _unguarded(report)
    lines += [loose] if loose else []
    checks = [
        (run, check)
        for artifact in report.artifacts
        for run in artifact.runs
        for check in run.checks
        if not (loose and artifact.format == "tflite")
    ]
    if checks and not any(check.problems for _, check in checks):
        sums = Counter[str | None]()
        for run, check in checks:
            sums[run.protocol] += check.requests
        count = ", ".join(f"{requests} over {protocol}" for protocol, requests in sums.items())
        lines.append(
            f"Malformed requests ({count}): each got INVALID_ARGUMENT, and the server went on answering as before"
        )
    return lines


def served_causes(fastest: Fastest) -> list[str]:
    """Return a line for each served artifact with what explains its speed, and over which protocol where not over all.

    In the order of the first protocol's rows.
    """
    found: dict[str, dict[str, list[str]]] = {}  # artifact -> cause -> protocols
    for row in fastest.rows:
        for cause in row.why:
            found.setdefault(row.artifact, {}).setdefault(cause, []).append(PROTOCOLS[row.protocol or "grpc"])
    count = len({row.protocol for row in fastest.rows})
    return [
        f"{artifact}: "
        + "; ".join(cause if len(over) == count else f"over {over[0]} {cause}" for cause, over in causes.items())
        for artifact, causes in found.items()
    ]


def served_by(fastest: Fastest) -> str:
    """Return the target and the server that the figures are of."""
    named = " ".join(part for part in (fastest.server.get("implementation"), fastest.server.get("version")) if part)
    return f"{fastest.target}: {named or 'a server that does not tell what it is'}"


def _unguarded(report: Report) -> str:
    """Return what a server does with malformed requests to .tflite files, where it does not refuse them."""
    found = {
        item.id: f"{len(check.problems)} of {check.requests} over {run.protocol}"
        for item in report.artifacts
        for run in item.runs
        for check in run.checks
        if item.format == "tflite" and check.problems
    }
    if not found:
        return ""
    told = ", ".join(f"{name} ({count})" for name, count in found.items())
    return (
        f"Malformed requests that the server did not refuse: {told}. A .tflite has no operators that could check a "
        "shape: put in front of it what does"
    )


def caption(report: Report) -> str:
    """Return what the latencies rest on: the load generator, the blocks, the threads and the number of queries."""
    found = [
        (run, one)
        for artifact in report.artifacts
        for run in artifact.runs
        if run.runtime != "device" and (one := run.single_stream())
    ]
    if not found:
        return ""
    queries = [one.queries for _, one in found]
    one = found[0][1]
    said = {place(run): threads(run) for run, _ in found}
    # one number where all have the same, else each with its own
    counted = next(iter(said.values())) if len(set(said.values())) == 1 else ", ".join(map(": ".join, said.items()))
    return (
        f"p50 and p99 of one sample, the geometric mean of the blocks' own: {one.scenario} by "
        f"{one.settings['generator']}, {one.settings['blocks']} blocks that alternate with the other files there, "
        f"{counted}, {min(queries):,} to {max(queries):,} queries each; faster: against the reference's float32 file "
        "there"
    )


def ratio(value: float) -> str:
    """Return a ratio with two significant digits or more: "0.85x", "1.02x", "3.4x", "12x"."""
    return f"{value:.0f}x" if value >= 9.95 else f"{value:.1f}x" if value >= 1.95 else f"{value:.2f}x"


def where(runtime: str, protocol: str | None) -> str:
    """Return the name of a place where files are run: a runtime, or serving over a protocol."""
    return f"served over {PROTOCOLS[protocol]}" if protocol else _RUNTIMES.get(runtime, runtime)


def precision(stage: str, form: str) -> str:
    """Return the precision in which a stage's model is exported: quantize makes integers, all others floats."""
    if stage != "quantize":
        return "float32"
    return "fake-quant" if form == "saved_model" else "int8"


def is_served(report: Report) -> bool:
    """Return whether the recipe has models served; `serving: null` has none."""
    return report.settings.get("serving", {}) is not None


def marks(artifact: Artifact, report: Report) -> list[str]:
    """Return what there is to say of an artifact's part in the report."""
    parts = {"reference": report.reference, "final": report.final}
    parts |= {"served by default": report.to_serve} if is_served(report) else {}
    held = [part for part, name in parts.items() if name == artifact.id]
    held += ["optional"] * artifact.optional + [f"batch {artifact.batch} only"] * (artifact.batch is not None)
    return held + ["token ids"] * any(name.endswith(".tokens.json") for name in artifact.beside)


def found(gate: Gate) -> str:
    """Return what was found of a gate, without what to try."""
    return gate.message.removesuffix(f"; try {gate.todo}") if gate.todo else gate.message


def bought_by(model: Model, report: Report) -> Bought | None:
    """Return what the model's stage bought; None for the first model and for what learned alone."""
    return next((one for one in report.bought if one.stage == model.stage and not model.variant), None)


def packed(model: Model, report: Report) -> int | None:
    """Return the gzipped bytes of what `sized` gives."""
    found = sized(model, report)
    return found.gzip_bytes if found else None


def sized(model: Model, report: Report) -> Artifact | Model | None:
    """Return the file that stands for the model's size: the model, for its weights alone, where no file does.

    None for what learned alone beside models with files: the two could not be compared.
    """
    own = next((one.sizes[1] for one in report.bought if one.stage == model.stage and one.sizes), None)
    following = next((one.sizes[0] for one in report.bought if one.against == model.stage and one.sizes), None)
    file = next((item for item in report.artifacts if item.id == (own or following)), None)
    if file is None:
        return model
    return None if model.variant else file


def timed(model: Model, report: Report) -> Iterator[tuple[str, Latency, Faster | None]]:
    """Yield where the files that hold the model itself, and not a rounded copy of it, were timed.

    Yields:
        (place, latency of one sample, against the stage before where that was timed there too).
    """
    for item in report.artifacts:
        if model.variant or item.stage != model.stage or item.precision != precision(item.stage, item.format):
            continue
        for run in item.runs:
            # behind a server it is the SavedModels that are followed from stage to stage
            if run.protocol and item.format != "saved_model":
                continue
            if latency := run.single_stream():
                key = (item.id, run.runtime, run.protocol)
                found = (one for bought in report.bought for one in bought.faster)
                faster = next((one for one in found if (one.artifact, one.runtime, one.protocol) == key), None)
                yield where(run.runtime, run.protocol), latency, faster


def times(model: Model, report: Report) -> dict[str, tuple[Latency, Faster | None]]:
    """Return place -> what `timed` says of it."""
    return {place: (latency, faster) for place, latency, faster in timed(model, report)}


def imitation(model: Model, place: str) -> str:
    """Return what is timed in a place where that is not what the stage's model becomes, in parentheses; else ""."""
    imitated = precision(model.stage, "saved_model")
    return f" ({imitated})" if imitated != "float32" and place.startswith("served over ") else ""


def places(report: Report) -> list[str]:
    """Return every place in which a stage's model was timed."""
    return list(dict.fromkeys(place for model in report.models for place in times(model, report)))


def noun(name: str) -> str:
    """Return what a metric is called, by its key in report.json: "F1", "accuracy of digit"."""
    head, found = of_key(name)
    return f"{found.noun} of {head}" if head else found.noun


def judging(report: Report) -> list[Metric]:
    """Return what models are judged by."""
    return metrics_of([*report.models, *(run for artifact in report.artifacts for run in artifact.runs)])


def judged_by(report: Report) -> str:
    """Return what models are judged by in a word or two: accuracy, R2 or both."""
    return ", ".join(dict.fromkeys(one.noun for one in judging(report))) or "accuracy"


def foreseen(report: Report) -> str:
    """Return in short what a forecast says: how many layers, files and problems."""
    assert report.forecast is not None
    forecast = report.forecast
    line = forecast.lines[0]
    layers = sum(len(stage.layers) for stage in line.stages)
    said = f"{layers} layers in {len(line.stages)} stages, {len(line.files)} files"
    if refused := len(forecast.refused(optional=True)):
        said += f", {refused} of which cannot be made"
    if forecast.problems:
        said += f", and {len(forecast.problems)} that cannot work"
    if opened := sum(bool(layer.decided_by) for stage in line.stages for layer in stage.layers):
        said += f"; what becomes of {opened} of the layers was left to be decided by what is measured and trained"
    return said
