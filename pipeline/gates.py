"""One gate: a limit, the value that was measured, and what to try where the whole interval misses the limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from pipeline.report.document import Artifact, Gate, Run
from pipeline.report.model import Interval
from pipeline.report.quality import qualities


@dataclass(frozen=True)
class _Rule:
    """How one limit is compared.

    Attributes:
        upper: whether the limit is the highest value allowed, else the lowest.
        find: the values in one run, of several outputs each its own; none where it was not measured.
        todo: what to try when it is missed, besides another limit.
        problems: why the measurement proves nothing; empty where it does.
        own: the limit is for the file in its own runtime: not for a .tflite as a server answers with it.
        of: which runs it is for; a limit on quality is for none that is only timed, one on time for none that is not,
            and what a device takes has limits of its own (`edge/budgets.py`).
    """

    upper: bool
    unit: str
    find: Callable[[Artifact, Run, Artifact], Sequence[Interval]]
    todo: str
    problems: Callable[[Run], list[str]] = lambda _: []
    own: bool = False
    of: Callable[[Run], bool] = lambda run: run.runtime != "device"


def _on_this_machine(run: Run) -> bool:
    return run.runtime not in ("device", "tflite-micro")


def _p99(_: Artifact, run: Run, __: Artifact) -> Sequence[Interval]:
    found = run.single_stream()
    return [Interval(value=found.p99_ms, low=found.p99_low, high=found.p99_high)] if found else []


def _speedup(_: Artifact, run: Run, __: Artifact) -> Sequence[Interval]:
    found = run.single_stream()
    faster = found.speedup if found else None
    return [Interval(value=faster.value, low=faster.low, high=faster.high)] if faster else []


def _invalid_latency(run: Run) -> list[str]:
    found = run.single_stream()
    if found is None or found.valid:
        return []
    return found.problems or ["the load generator says so"]


def _invalid_speedup(run: Run) -> list[str]:
    found = run.single_stream()
    if found is None or found.speedup is None or found.speedup.valid:
        return []
    return _invalid_latency(run) or [f"that of {found.speedup.against} is"]


def _parity(_: Artifact, run: Run, __: Artifact) -> Sequence[Interval]:
    return run.parity.agreements() if run.parity else []


def _drop(_: Artifact, run: Run, __: Artifact) -> Sequence[Interval]:
    return [one.found for one in qualities(run, "drop")]


def _size_ratio(artifact: Artifact, _: Run, reference: Artifact) -> Sequence[Interval]:
    if not artifact.gzip_bytes or not reference.gzip_bytes:
        return []
    ratio = reference.gzip_bytes / artifact.gzip_bytes
    return [Interval(value=ratio, low=ratio, high=ratio)]


DROP = "max_accuracy_drop"
QUALITY = (DROP, "min_parity")
"""What is about answers, and not about the machine that gives them."""
_FEWER = "a smaller model (fewer distill.student.filters, a lower shrink.macs, or parameters, latency)"
_RULES = {
    DROP: _Rule(
        True, "", _drop,
        "a higher shrink.macs (or parameters, latency), a lower prune.final_sparsity, more cluster.clusters, more "
        "epochs in the stage that lost it (see what each stage bought), more calibration samples "
        "(data.split.calibration), a precision that keeps more (float16, dynamic-int8)",
    ),
    "min_parity": _Rule(
        False, "", _parity, "a precision that keeps more (float16, dynamic-int8), or more calibration samples "
        "(data.split.calibration)",
    ),
    "max_p99_ms": _Rule(
        True, " ms", _p99, f"{_FEWER}, more measure.threads, or a machine with less other work", _invalid_latency,
        own=True, of=_on_this_machine,
    ),
    "min_size_ratio": _Rule(
        False, "", _size_ratio,
        f"{_FEWER}, a higher prune.final_sparsity, fewer cluster.clusters, or an int8 precision",
    ),
    "min_speedup": _Rule(
        False, "x", _speedup, f"a precision with fast kernels in this runtime (int8 in LiteRT), {_FEWER}, or more "
        "measure.latency.blocks where the interval is wide",
        _invalid_speedup, own=True, of=_on_this_machine,
    ),
}  # fmt: skip


def gate(name: str, limit: float, artifact: Artifact, reference: Artifact) -> Gate:
    """Compare one limit with the worst of an artifact's runs.

    Args:
        name: a key of `Limits`.
        limit: in the unit that the name says.
        artifact: as measured.
        reference: that everything is compared with.
    """
    rule = _RULES[name]
    fitting = [run for run in artifact.runs if rule.of(run)]
    alone = [run for run in fitting if not run.protocol]
    runs = alone if rule.own and artifact.format != "saved_model" and alone else fitting
    found = [(rule.find(artifact, run, reference), run) for run in runs]
    values = [(value, run) for some, run in found for value in some]
    if artifact.error or not values or not all(some for some, _ in found):
        failed = next((item for item in (artifact, reference) if item.error), None)
        why = artifact.error or reference.error or "it has no such measurement"
        if reference.error and not artifact.error:
            why = f"the reference {reference.id} failed: {why}"
        return Gate(
            name=name, artifact=artifact.id, limit=limit, value=None, low=None, high=None, passed=False,
            message=f"not measured: {why.splitlines()[0]}", upper=rule.upper, unit=rule.unit,
            todo=f"what the error of {failed.id} says" if failed else "",
        )  # fmt: skip
    # each output holds the limit in each place where the artifact runs; shown is the worst that misses, else the worst
    missed = [pair for pair in values if (pair[0].low > limit if rule.upper else pair[0].high < limit)]
    worst, run = (max if rule.upper else min)(missed or values, key=lambda pair: pair[0].value)
    problems = list(dict.fromkeys(problem for run in runs for problem in rule.problems(run)))
    place = f" over {run.protocol}" if len(runs) > 1 and run.protocol else ""
    place = " in TensorFlow Lite Micro" if run.runtime == "tflite-micro" else place
    # what is lost where it is no accuracy, which the name of the limit speaks of
    lost = [one.noun for one in qualities(run, "drop") if one.found is worst and one.metric.name != "accuracy"]
    of = f" of {lost[0]}" if name == DROP and lost else ""
    text, todo = f"{_found(rule, worst)}{of}{place}, limit {_bound(rule, limit)}", ""
    if missed:
        todo = f"{rule.todo}; the limit that would pass is {_bound(rule, passing(missed, upper=rule.upper))}"
        text += f": the whole interval misses it; try {todo}"
    elif problems:
        todo = "a machine with less other work, or longer blocks (measure.latency.min_block_ms, max_block_ms)"
        text += f": but the measurement is INVALID ({'; '.join(problems)}); try {todo}"
    elif (worst.value > limit) if rule.upper else (worst.value < limit):
        text += ": within the interval, so not shown to be missed"
    return Gate(
        name=name, artifact=artifact.id, limit=limit, value=worst.value, low=worst.low, high=worst.high,
        passed=not missed and not problems, message=text, upper=rule.upper, unit=rule.unit, todo=todo,
    )  # fmt: skip


def passing(missed: Sequence[tuple[Interval, Run]], *, upper: bool) -> float:
    """Return the strictest limit of three digits that every run that missed would hold: a limit passes at the edge."""
    edge = max(found.low for found, _ in missed) if upper else min(found.high for found, _ in missed)
    if edge == 0:
        return 0.0
    exact = Decimal(repr(edge))
    step = Decimal(1).scaleb(exact.adjusted() - 2)
    return float(exact.quantize(step, rounding=ROUND_CEILING if upper else ROUND_FLOOR))


def _bound(rule: _Rule, limit: float) -> str:
    return f"{'at most' if rule.upper else 'at least'} {limit:g}{rule.unit}"


def _found(rule: _Rule, found: Interval) -> str:
    value = f"{found.value:.4g}{rule.unit}"
    if found.low != found.high:
        value += f" (95 % interval {found.low:.4g} to {found.high:.4g})"
    return value
