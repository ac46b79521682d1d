"""The figures of a file in its model card: accuracy, parity, latency, start, size, and what it takes of a device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.bundle.markdown import plain, table
from pipeline.metric import of_key
from pipeline.report import on_device, starts, words

if TYPE_CHECKING:
    from pipeline.report.document import Artifact, Latency, Parity, Report, Run
    from pipeline.report.startup import Startup


def quality(item: Artifact) -> Iterator[str]:
    """Yield accuracy and parity in the file's own runtimes."""
    yield from ("## Accuracy and parity", "")
    agreed = [(run, run.parity) for run in own(item) if run.parity]  # of a board there are times alone
    if not agreed:
        why = "it failed; see the top" if item.error else "the run has no section measure, or did not reach it"
        yield from (f"Not measured: {why}.", "")
        return
    yield f"Over the whole test split, {agreed[0][1].samples:,} samples; intervals are 95 %."
    rows = [
        (where(run), one.head, one.noun, one.metric.text(one.found.value), f"{one.low} to {one.high}")
        for run, _ in agreed for one in words.qualities(run)
    ]  # fmt: skip
    yield from ("", *table(("in", "output", "judged by", "value", "interval"), rows), "")
    yield "Parity, agreement with the Keras model of the same stage on the same samples:"
    headers = ("in", "against", "samples", "agreement", "largest difference", "mean difference")
    yield from ("", *table(headers, (_parity(run, found) for run, found in agreed)), "")
    first, _ = agreed[0]
    yield f"All metrics, in {where(first)}:"
    yield from ("", *table(("metric", "value", "interval"), _every_metric(first)), "")


def _parity(run: Run, found: Parity) -> tuple[str, ...]:
    same = "; ".join(
        f"{100 * one.value:.2f} % ({100 * one.low:.2f} to {100 * one.high:.2f})" for one in found.agreements()
    )
    errors = (f"{found.max_abs_error:.3g}", f"{found.mean_abs_error:.3g}")
    return where(run), found.against, f"{found.samples:,}", same, *errors


def own(item: Artifact) -> list[Run]:
    """Return the runs in the file's own runtime: what a server takes for a request says nothing of an app."""
    return [run for run in (*item.runs, *item.at_other_threads) if run.protocol is None]


def _every_metric(run: Run) -> Iterator[tuple[str, str, str]]:
    for key, found in run.metrics.items():
        if not key.endswith("_drop"):
            metric = of_key(key)[1]
            yield key, metric.text(found.value), f"{metric.written(found.low)} to {metric.written(found.high)}"


def where(run: Run) -> str:
    """Return the runtime and its threads."""
    threads = "" if run.threads is None else f", {run.threads} thread{'' if run.threads == 1 else 's'}"
    return f"{words.where(run.runtime, run.protocol)}{threads}"


def latency(report: Report, item: Artifact) -> Iterator[str]:
    """Yield latencies and starts, and where they were measured."""
    yield from ("## Latency", "")
    rows = [(run, latency) for run in own(item) for latency in run.latency]
    if not rows:
        yield from ("Not measured.", "")
        return
    system = report.machine
    if any(run.runtime != "device" for run, _ in rows):
        yield (
            f"On {processor(report)}, {plain(system.get('cores', 'unknown'))} cores, "
            f"{plain(system.get('system', 'an unknown system'))}, {_version(report, item)}. Another "
            "device is faster or slower: time it there."
        )
    if any(run.runtime == "device" for run, _ in rows):
        yield "What is in the device was timed there, by the recipe's edge.command."
    timed = ("in", "scenario", "queries", "p50 ms (95 %)", "p99 ms (95 %)", "samples/s")
    yield from ("", *table(timed, (_timed(run, latency) for run, latency in rows)), "")
    started = [(run, run.startup) for run in own(item) if run.startup]
    if started:
        yield f"The start, the median of {started[0][1].repeats} fresh processes that have the runtime imported:"
        headers = ("in", "loading ms (lowest to highest)", "first answer ms (likewise)", "memory MiB at the peak")
        yield from ("", *table(headers, (_started(run, start) for run, start in started)), "")


def processor(report: Report) -> str:
    """Return the name of the processor of the run's machine."""
    return plain(report.machine.get("cpu", "an unknown processor"))


def _version(report: Report, item: Artifact) -> str:
    package = {"tflite": "ai-edge-litert", "onnx": "onnxruntime"}[item.format]
    return f"{package} {plain(report.machine.get('versions', {}).get(package, 'of an unknown version'))}"


def _started(run: Run, start: Startup) -> tuple[str, ...]:
    load = f"{words.milliseconds(start.load_ms)} ({starts.spread(start.loads_ms)})"
    first = f"{words.milliseconds(start.first_ms)} ({starts.spread(start.firsts_ms)}; batch {start.batch})"
    memory = "not told by the system" if start.memory_mib is None else f"{start.memory_mib:.1f}"
    return where(run), load, first, memory


def _timed(run: Run, one: Latency) -> tuple[str, ...]:
    at = words.milliseconds
    scenario = one.scenario if (batch := one.settings.get("batch", 1)) == 1 else f"{one.scenario}, batches of {batch}"
    return (
        where(run), scenario + ("" if one.valid else f" (not valid: {'; '.join(one.problems)})"),
        f"{one.queries:,}", f"{at(one.p50_ms)} ({at(one.p50_low)} to {at(one.p50_high)})",
        f"{at(one.p99_ms)} ({at(one.p99_low)} to {at(one.p99_high)})", f"{one.throughput_per_s:,.0f}",
    )  # fmt: skip


def size(item: Artifact) -> Iterator[str]:
    """Yield bytes, parameters, MACs and operators."""
    yield from ("## Size", "")
    rows = [("file", words.size(item.bytes))] if item.bytes else []
    rows += [("gzipped", words.size(item.gzip_bytes))] if item.gzip_bytes else []
    rows += [("parameters", words.number(item.parameters)), ("MACs of a sample", words.number(item.macs))]
    rows += [("zeros among the weights", f"{words.percent(item.sparsity)} %")] if item.sparsity is not None else []
    if (count := item.operators) is not None:
        named = ", ".join(f"{name} {number}" for name, number in count.floating_names.items())
        rows.append(("operators in integers", str(count.integer)))
        rows.append(("operators in floats", f"{count.floating}{f' ({named})' if named else ''}"))
        rows.append(("conversions between them", str(count.conversions)))
    yield from (*table(("", ""), rows), "")


def device(report: Report, item: Artifact) -> Iterator[str]:
    """Yield what the run found of a small device, where it is this file that goes there."""
    found = report.edge
    if found is None or found.artifact != item.id:
        return
    yield from ("## On the device of the recipe's profile", "", f"{plain(on_device.sentence(found))}.", "")
    if found.micro is not None and found.micro.arena_bytes is not None:
        where = ", with all operators on the CPU" if found.npus else ""
        size = f"{found.micro.arena_bytes:,} bytes"
        yield f"- The tensor arena is {size}, of this file{where}, measured on the run's machine."
        yield from (f"- {plain(on_device.agreement(one))}." for one in found.micro.parity)
    refused = [("TensorFlow Lite Micro", found.micro), ("the device", found.device), ("the stage edge", found)]
    yield from (f"- {name}: {plain(one.error)}" for name, one in refused if one is not None and one.error)
    yield ""
    if found.npus:
        yield "Compiled for Arm Ethos-U, by Vela, whose estimates these are:"
        rows = [
            (one.accelerator, f"{one.system_config}, {one.memory_mode}", "failed", one.error, "", "") if one.error else
            (one.accelerator, f"{one.system_config}, {one.memory_mode}", on_device.placed(one),
             words.size(one.sram_bytes), words.size(one.flash_bytes), f"{words.milliseconds(one.time_ms)} ms")
            for one in found.npus
        ]  # fmt: skip
        yield from ("", *table(("NPU", "configuration", "operators on it", "SRAM", "flash", "an answer"), rows), "")
        yield "What Vela compiled is in the run's artifacts/edge/, not in here; limits of flash and arena are of that."
        yield ""
