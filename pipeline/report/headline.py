"""The first thing the page says: the verdict with its reason, and the answers to smaller, faster, still right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import InputError
from pipeline.metric import Metric
from pipeline.report import on_device
from pipeline.report.document import Artifact, Report, Run
from pipeline.report.model import Interval, Model
from pipeline.report.quality import Judged, Quality, change, quality
from pipeline.report.words import is_served, kilobytes, milliseconds, number, ratio, where

_DROP = "max_accuracy_drop"
_SMALLER = 1.005  # a ratio above this is shown as more than 1.00
Word = Literal["yes", "no", "open"]


@dataclass(frozen=True)
class Answer:
    """One question, its figure, and what the figure rests on."""

    question: str
    word: Word
    said: str
    figure: str
    details: tuple[str, ...]


def sentence(report: Report) -> str:
    """Return why the verdict is what it is, in one sentence or two."""
    missed = [gate for gate in report.gates if not gate.passed]
    broken = [item for item in report.artifacts if item.error and not item.optional]
    lacking = [one.what for one in report.edge.failures() if one.what != report.edge.artifact] if report.edge else []
    if report.verdict == "incomplete":
        return _incomplete(report)
    if report.verdict == "error":
        if report.failure:
            again = _SET_RIGHT if report.failure.exit_code == InputError.exit_code else _GO_ON
            return f"The run failed{f' in {report.failure.stage}' if report.failure.stage else ''}. " + again
        there = [f"{report.edge.artifact} on the device"] if report.edge and lacking else []
        names = ", ".join([*(item.id for item in broken), *there])
        return f"What {names} is worth could not be judged, for a failure of the moment. " + _GO_ON
    if report.verdict == "pass":
        return f"{_all(len(report.gates))}, and every artifact that was asked for could be made and run."
    reasons = (
        [f"{len(missed)} of {_count(len(report.gates), 'limit')} {'is' if len(missed) == 1 else 'are'} missed"]
        if missed
        else []
    )
    if broken:
        names = ", ".join(item.id for item in broken)
        reasons.append(f"{_count(len(broken), 'artifact')} could not be made or run: {names}")
    if lacking:
        reasons.append(f"what the device takes is not all known: {', '.join(lacking)} failed")
    return "; ".join(reasons) + "."


_GO_ON = "The same command goes on from there."
_SET_RIGHT = "What was given to it has to be set right first."


def _count(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _all(count: int) -> str:
    return "The one limit is held" if count == 1 else f"All {count} limits are held"


def _incomplete(report: Report) -> str:
    """Return why nothing was judged, and what to do so that it is."""
    went = [stage.name for stage in report.stages if stage.status in ("run", "reused")]
    if "measure" not in went:
        if report.settings.get("measure"):
            last = f"the run stopped after {went[-1]}" if went else "nothing was run"
            there = "The command modelmill run goes on from there."
            return f"Nothing is proven yet: {last}, before anything was measured. {there}"
        return "Nothing is proven: the recipe has no section measure, so nothing was measured that could be judged."
    if not report.artifacts:
        return (
            "Nothing was judged: the models were measured, but limits are for exported files, and the recipe has no "
            "section export."
        )
    return (
        "Nothing was judged: everything was measured, but the recipe sets no limits. Add some, such as "
        "judge.gates.max_accuracy_drop: 0.01; nothing is trained or measured again for that."
    )


def answers(report: Report) -> list[Answer]:
    """Return the answers for the final artifact; where none was exported, for the last stage's model.

    Of a file for a device they are what it takes there: how fast this machine is with it says nothing of that one.

    A question that nothing was measured for is left out.
    """
    files = {item.id: item for item in report.artifacts}
    final = files.get((report.edge.artifact if report.edge else report.final) or "")
    reference = files.get(report.reference or "")
    if final is None or reference is None:
        return _of_models([model for model in report.models if not model.variant])
    run = final.runs[0] if final.runs and not final.error else None
    found: list[Answer | None] = []
    there = ""
    if report.edge:
        found += [Answer(one.question, *one.verdict, one.figure, (one.said,)) for one in on_device.needs(report)]
        run = next((one for one in final.runs if one.runtime == "tflite-micro" and one.metrics), run)
        there = f"in {where(run.runtime, None)} on this machine" if run else ""
    elif final is not reference:
        found.append(_smaller(reference, final))
        found.append(_faster(run) if run else None)
    if run:
        basis = quality(reference.runs[0]) if reference.runs else None
        allowed = any(gate.passed for gate in report.gates if (gate.name, gate.artifact) == (_DROP, final.id))
        found.append(_right(run, basis, allowed=allowed, there=there))
    return [one for one in found if one]


def _smaller(before: Artifact | Model, after: Artifact | Model, what: str = "gzipped") -> Answer | None:
    if not before.gzip_bytes or not after.gzip_bytes:
        return None
    times = before.gzip_bytes / after.gzip_bytes
    word: Word = "yes" if times > _SMALLER else "no" if times < 1 / _SMALLER else "open"
    said = {"yes": "smaller", "no": "larger", "open": "the same size"}[word]
    details = (f"{kilobytes(after.gzip_bytes)} kB {what}", f"from {kilobytes(before.gzip_bytes)} kB")
    return Answer("Smaller?", word, said, ratio(times), details)


def _faster(run: Run) -> Answer | None:
    one = run.single_stream()
    if one is None or one.speedup is None:
        return None
    faster = one.speedup
    word: Word = "open" if not faster.valid else "yes" if faster.low > 1 else "no" if faster.high < 1 else "open"
    said = {"yes": "faster", "no": "slower", "open": "as fast: no difference proven"}[word]
    if not faster.valid:
        said = "not proven: the measurement is INVALID"
    name = where(run.runtime, run.protocol)
    place = name if run.protocol else f"in {name}"
    details = (
        f"95 % {faster.low:.2f} to {faster.high:.2f}, {place}",
        f"p50 {milliseconds(one.p50_ms)} ms, against {faster.against}",
    )
    return Answer("Faster?", word, said, ratio(faster.value), details)


def _right(of: Judged, basis: Quality | None, *, allowed: bool = False, there: str = "") -> Answer | None:
    found, lost = quality(of), change(of, "drop")
    if found is None:
        return None
    drop = lost.found if lost else None
    word, said = _loss(drop, found.metric, allowed=allowed)
    better = ", lower is better" if found.metric.lower else ""
    details = [f"{found.what} on the test split{better}, 95 % {found.low} to {found.high}"]
    if lost:
        before, metric, risen = f"from {basis.text}: " if basis else "", lost.metric, lost.risen
        value, low, high = (metric.difference(edge, signed=True) for edge in (risen.value, risen.low, risen.high))
        details.append(f"{before}{value}{metric.step}, 95 % {low} to {high}")
    details += [there] if there else []
    return Answer("Still right?" if drop else "Right?", word, said, found.text, tuple(details))


def _loss(drop: Interval | None, metric: Metric, *, allowed: bool) -> tuple[Word, str]:
    if drop is None:
        return "open", "nothing to compare with"
    accurate = metric.name == "accuracy"
    if drop.low > 0:
        if allowed:
            return "open", f"{'less accurate' if accurate else 'worse'}, within the limit"
        return "no", f"the {metric.noun} rose" if metric.lower else f"{metric.noun} is lost"
    if drop.high < 0:
        return "yes", "more accurate" if accurate else "better"
    # one that may be there is a yes only where it looks like none, or a limit says that it may
    if drop.value <= 0:
        return "yes", "no loss found"
    return "yes" if allowed else "open", f"a little {'more' if metric.lower else 'less'}, which may be chance"


def _of_models(line: list[Model]) -> list[Answer]:
    if not line:
        return []
    first, last = line[0], line[-1]
    found = [_right(last, quality(first))]
    if last is not first:
        found.insert(0, _smaller(first, last, "of weights, gzipped"))
        times = first.macs / last.macs if first.macs and last.macs else 1.0
        word: Word = "yes" if times > _SMALLER else "no" if times < 1 / _SMALLER else "open"
        said = {"yes": "less to compute", "no": "more to compute", "open": "as much to compute"}[word]
        details = (f"{number(last.macs)} MACs a sample", f"from {number(first.macs)}; no latency was measured")
        found.insert(1, Answer("Less work?", word, said, ratio(times), details))
    return [one for one in found if one]


def served(report: Report) -> str:
    """Return in a sentence what the SavedModel that is served as the result is worth; empty where it is the final one.

    Empty too where nothing was measured of it.
    """
    files = {item.id: item for item in report.artifacts}
    chosen, reference = files.get(report.to_serve or ""), files.get(report.reference or "")
    if not is_served(report):
        return ""
    if chosen is None or reference is None or chosen.id == report.final or not chosen.runs or chosen is reference:
        return ""
    parts = []
    if chosen.gzip_bytes and reference.gzip_bytes:
        parts.append(f"{ratio(reference.gzip_bytes / chosen.gzip_bytes)} smaller")
    for run in chosen.runs:
        one = run.single_stream()
        if one and one.speedup and one.speedup.valid:
            faster = one.speedup
            place = where(run.runtime, run.protocol)
            if faster.low > 1:
                parts.append(f"{ratio(faster.value)} faster {place}")
            else:
                claim = "slower" if faster.high < 1 else "not proven faster"
                parts.append(f"{claim} {place} ({ratio(faster.value)}, 95 % {faster.low:.2f} to {faster.high:.2f})")
    if found := quality(chosen.runs[0]):
        parts.append(found.said)
    return ", ".join(parts)
