"""MODEL_CARD.md: what a run's report says of the model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.bundle import figures, standing
from pipeline.bundle.markdown import code, plain, table
from pipeline.formats.precisions import STATIC
from pipeline.report import words

if TYPE_CHECKING:
    from pipeline.bundle.microcontroller import Micro
    from pipeline.bundle.subject import Subject
    from pipeline.report.document import Artifact, Report
    from pipeline.report.model import Model

_FORMATS = {"tflite": "TFLite", "onnx": "ONNX"}


def text(
    subject: Subject,
    signature: Mapping[str, Any],
    files: Collection[str],
    answered_by: str,
    micro: Micro | None,
    compared: Sequence[str] = (),
) -> str:
    """Return MODEL_CARD.md.

    Args:
        signature: of signature.json.
        files: the names of all others in the bundle.
        answered_by: the runtime, its version and the processor that gave the golden outputs.
        micro: what there is for a microcontroller; None: the file is none for it.
        compared: where the golden outputs could not be compared with other kernels', or these are far from them.
    """
    report, item = subject.report, subject.found.item
    parts = [
        *_head(subject), *_trained_on(report), *_made(report, item), *figures.quality(item),
        *figures.latency(report, item), *figures.size(item), *figures.device(report, item), *_ends(signature),
        *_golden(item, answered_by, files, compared), *_micro(micro, report, item), *_limits(subject), *_gates(report),
        *_files(files),
    ]  # fmt: skip
    return "\n".join(parts).rstrip() + "\n"


def _head(subject: Subject) -> Iterator[str]:
    report, item = subject.report, subject.found.item
    yield from (f"# {plain(report.recipe)}: {plain(item.id)}", "")
    for found in standing.warnings(report, item):
        yield from (f"> **{found.word}.** {plain(found.why)}", "")
    kind = ", ".join((_FORMATS[item.format], plain(item.precision), *([plain(item.variant)] if item.variant else [])))
    yield f"A model that answers {_task(report)}, as {kind}."
    yield f"Made by modelmill {plain(report.modelmill)} from the recipe {plain(report.recipe)}, seed {report.seed}."
    yield from ("All figures are of the run's report.json.", "")


def _task(report: Report) -> str:
    if report.data is None:
        return "what the recipe asked for"
    said = []
    for output in report.data.outputs:
        classes = f" into {len(output.classes)} classes" if output.classes else ""
        said.append(f"{f'{plain(output.name)}: ' if output.name else ''}{plain(output.task)}{classes}")
    return ", ".join(said)


def _trained_on(report: Report) -> Iterator[str]:
    yield from ("## Data", "")
    if report.data is None:
        yield from ("The report does not say.", "")
        return
    data = report.data
    inputs = ", ".join(f"{plain(name)} {list(shape)}" for name, shape in data.inputs.items())
    yield f"Source {code(data.source)}, divided {plain(data.by)}; a sample is {inputs}."
    counts = [(name, f"{split.samples:,}") for name, split in data.splits.items()]
    yield from ("", *table(("split", "samples"), counts), "")
    yield from (*(f"- {plain(note)}" for note in data.notes), *([""] if data.notes else []))


def model_path(report: Report) -> str:
    """Return the file that the first model was read from; empty: it was trained."""
    given = report.settings.get("model")
    return str(given.get("path") or "") if isinstance(given, dict) else ""


def _made(report: Report, item: Artifact) -> Iterator[str]:
    yield from ("## How it was made", "")
    given = report.settings.get("model")
    if path := model_path(report):
        yield f"The first model is the file {code(path)}."
    elif isinstance(given, dict) and "architecture" in given:
        yield f"The first model's architecture is {code(given['architecture'])}."
    yield f"This file holds the weights of the stage {plain(item.stage)}. The stages up to it:"
    line = [model for model in report.models if not model.variant]
    upto = next((place for place, model in enumerate(line) if model.stage == item.stage), len(line) - 1)
    rows = [
        (model.stage, words.number(model.parameters), words.number(model.macs), f"{words.percent(model.sparsity)} %",
         _judged(model)) for model in line[: upto + 1]
    ]  # fmt: skip
    yield from ("", *table(("stage", "parameters", "MACs", "zeros", "on the test split, 95 %"), rows), "")
    if after := _after_training(report, item):
        yield from (after, "")
    stages = {model.stage for model in line[: upto + 1]}
    bought = [one for one in report.bought if one.stage in stages]
    yield from (*(f"- {plain(one.stage)}: {plain(one.verdict)}" for one in bought), *([""] if bought else []))


def _after_training(report: Report, item: Artifact) -> str:
    """Return what was done to the weights when the file was made; empty: nothing, or the stage trained with it."""
    if item.stage == "quantize" or "float" in item.precision:
        return ""
    if item.precision not in STATIC:
        return f"It was quantized after training: its weights became {plain(item.precision)}."
    split = report.data.splits.get("calibration") if report.data else None
    count = f"{split.samples:,} calibration samples" if split else "calibration samples"
    return f"It was quantized after training: the ranges of its activations are those of {count}."


def _judged(model: Model) -> str:
    found = words.qualities(model)
    return ", ".join(f"{one.noun} {one.text} ({one.low} to {one.high})" for one in found) or "not measured"


def _ends(signature: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Inputs and outputs", "", "All of it is in signature.json.", "")
    rows = []
    for word in ("inputs", "outputs"):
        for end in signature[word]:
            shape = "?" if end["shape"] is None else str([size or "batch" for size in end["shape"]]).replace("'", "")
            what = end.get("meaning") or _raw(end)
            scaled = end["quantization"]
            step = f"(integer - {scaled['zero_point']}) * {scaled['scale']:g}" if scaled else ""
            rows.append((word[:-1], end["name"], end["dtype"], shape, what, step))
    yield from (*table(("", "name", "dtype", "shape", "what", "stands for"), rows), "")
    for end in signature["inputs"]:
        said = f"- {plain(end['name'])} takes {plain(end['takes'])}"
        yield said + (f" ({', '.join(map(plain, end['files']))})." if end["files"] else ".")
        if isinstance(steps := end.get("decoding"), list):
            yield f"  Of an image file: {'; '.join(map(plain, steps))}."
    if any(end["quantization"] for word in ("inputs", "outputs") for end in signature[word]):
        yield from ("", f"    {signature['integers']}")
    yield ""


def _raw(end: Mapping[str, Any]) -> str:
    if "raw_range" not in end:
        return f"{end['kind']}, each column in its own range"
    low, high = end["raw_range"]
    return f"{end['kind']}, {low:g} to {high:g}"


def _golden(item: Artifact, answered_by: str, files: Collection[str], compared: Iterable[str]) -> Iterator[str]:
    yield from ("## Check that it answers the same on your device", "")
    yield "golden/ has samples of the test split and what this very file answered them:"
    yield from (f"{plain(answered_by)}. The examples ask the model again and compare:", "")
    package, library = ("ai-edge-litert", "LiteRt") if item.format == "tflite" else ("onnxruntime", "onnxruntime")
    yield f"    pip install numpy {package} && python examples/python/check.py"
    link = f'-L"$LIBRARY" -l{library} -Wl,-rpath,"$LIBRARY" -o check'
    if "examples/c/run_litert.c" in files:
        yield f"    (cd examples/c && cc -I.. check.c run_litert.c golden_data.c {link} && ./check)"
    if "examples/cpp/check.cc" in files:
        yield f"    (cd examples/cpp && c++ -std=c++17 -I.. check.cc {link} && ./check ../..)"
    yield from ("    sha256sum -c SHA256SUMS", "", "Commands start in this card's folder.")
    if "examples/cpp/check.cc" in files:
        place = "of the installed Python package, `ai_edge_litert/`," if item.format == "tflite" else "of its release"
        yield f"LIBRARY is the folder {place} that holds lib{library}.so."
    yield ""
    if item.format == "onnx" and item.precision in STATIC:
        yield "On x86 without VNNI, `session.x64quantprecision` of ONNX Runtime's session options has to be 1 for these"
        yield from ("answers: otherwise some sums of integers are cut off there.", "")
    if notes := [f"- {plain(note)}." for note in compared]:
        yield from (*notes, "")


def _micro(micro: Micro | None, report: Report, item: Artifact) -> Iterator[str]:
    if micro is None:
        return
    yield from ("## On a microcontroller", "")
    if micro.why:
        yield from (f"Nothing for it is in here: {plain(micro.why)}.", "")
        return
    differ = ", ".join(f"{plain(name)} {most:g}" for name, most in micro.apart.items())
    yield (
        "examples/c/model.c is the file as C source. In TensorFlow Lite for Microcontrollers (TFLM) with its reference "
        f"kernels, on the machine that made this bundle, it needs a tensor arena of {micro.arena:,} bytes. Its answers "
        f"to the golden inputs differ from LiteRT's by at most, in the outputs' own units: {differ}."
    )
    yield ""
    yield from ("    (cd examples/c && cc -I.. -c check.c run_tflm.c golden_data.c model.c)", "")
    yield "and there, with TFLM's headers and library: `c++ -std=c++17 -c model_runtime.cc`. Link all of it."
    yield ""
    found = report.edge.source if report.edge is not None and report.edge.artifact == item.id else None
    if found is not None and found.npu is not None:
        yield (
            f"It computes on the CPU alone. The recipe's device has an NPU, {plain(found.npu)}: what Vela compiled for "
            "it, and the C source of that, which the limits are for, are in the run's artifacts/edge/, and not in here."
        )
        yield ""


def _limits(subject: Subject) -> Iterator[str]:
    report, item = subject.report, subject.found.item
    yield from ("## Limits: what it was not tested on", "")
    if report.data is not None and "test" in report.data.splits:
        count = report.data.splits["test"].samples
        yield f"- Other data than the {count:,} test samples of {code(report.data.source)}, from where the training"
        yield "  samples are, too. How it does on samples of another origin, nobody has looked."
    tested = [run for run in figures.own(item) if run.parity]
    if tested:
        places = dict.fromkeys(words.where(run.runtime, run.protocol) for run in tested)
        yield f"- Other runtimes and processors than {', '.join(places)} on {figures.processor(report)}."
    else:
        yield "- Any runtime: accuracy and parity of this file were not measured in this run."
    if any(run.runtime == "device" for run in figures.own(item)):
        yield "- The device: it was timed there, and nobody compared what it answers."
    yield "- Inputs outside of the raw range, damaged or adversarial ones; differences between groups"
    yield "  of people; data that changes with time."
    if item.batch is not None:
        yield f"- Other batches than {item.batch}: it takes no other."
    yield "- golden/ holds real samples of the data. Whether they may be passed on, LICENSE.md asks."
    yield ""


def _gates(report: Report) -> Iterator[str]:
    yield from ("## Verdict", "", f"The run's verdict: **{report.verdict}**.")
    if report.failure is not None:
        yield f"It failed in {plain(report.failure.stage or 'the run')}: {plain(report.failure.message)}"
    if not report.gates:
        yield from ("No gate was judged.", "")
        return
    rows = [(gate.word, gate.name, gate.artifact, words.found(gate)) for gate in report.gates]
    yield from ("", *table(("", "gate", "of", "found"), rows), "")


def _files(files: Iterable[str]) -> Iterator[str]:
    yield from ("## Files", "")
    yield from (f"- {plain(name)}" for name in sorted([*files, "SHA256SUMS"]) if not name.startswith("golden/"))
    yield "- golden/: the index and the raw tensors"
