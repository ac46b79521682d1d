"""Which settings of its steps make a fit fast: each is tried on the model, data and machine at hand, in turns.

A candidate is only taken where its loss is that of the plain settings: it starts from the same weights and sees the
same batches. The machine's mood decides a close race, so the outcome is kept in the store (STORE/performance-KEY) and
found by the next fit of the kind: what is trained can be trained again given the outcome.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.data import prepared
from pipeline.data.batches import Feeding
from pipeline.errors import InputError
from pipeline.files import canonical, write_json
from pipeline.fit.execution import Execution

NAME = "performance"
# how far the mean loss of the first steps may be from that of the plain settings, as a share of it: XLA and the plain
# kernels sum in different orders
LOSS_TOLERANCE = 0.01
# what has to be gained before other than the plain settings are taken
WORTH = 1.03
WORTH_TRYING = 10  # times the trial's budget: what a fit must last
_ROUNDS, _ROUND_S, _COMPARED_STEPS = 5, 0.4, 8
_FILE = "outcome.json"


@dataclass(frozen=True)
class Settings:
    """Of the steps of a fit: compiled with XLA or not, and how batches are made for them."""

    xla: bool = False
    feeding: Feeding = Feeding()

    def __str__(self) -> str:
        return f"{'XLA' if self.xla else 'no XLA'}, {self.feeding}"


@dataclass(frozen=True)
class Candidate:
    """What a trial found of some settings.

    Attributes:
        examples_per_s: median of the rounds; None: not measured.
        loss: mean of the first steps.
        out: why it cannot be taken; empty: it can.
    """

    settings: Settings
    examples_per_s: float | None = None
    loss: float | None = None
    out: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a trial; `chosen` is an index, and `why` says it in words."""

    key: str
    candidates: tuple[Candidate, ...]
    chosen: int
    why: str
    seconds: float = 0.0

    @property
    def settings(self) -> Settings:
        return self.candidates[self.chosen].settings

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `of_json` of them gives an equal outcome."""
        return asdict(self)


def of_json(document: Mapping[str, Any]) -> Outcome:
    """Return the outcome that `to_json` wrote."""
    candidates = tuple(
        Candidate(
            **{
                **one,
                "settings": Settings(one["settings"]["xla"], Feeding(**one["settings"]["feeding"])),
            }
        )
        for one in document["candidates"]
    )
    return Outcome(**{**document, "candidates": candidates})


def key(basis: Mapping[str, Any]) -> str:
    """Return the key of an outcome: the hash of all that speed depends on."""
    return hashlib.sha256(canonical(basis).encode()).hexdigest()[:24]


def anatomy(model: Any) -> list[Any]:
    """Return what decides how long a model's steps take: its layers' kinds and the shapes of their weights."""
    return [
        [type(layer).__name__, *(list(weight.shape) for weight in layer.weights), _out(layer)] for layer in model.layers
    ]


def _out(layer: Any) -> str:
    try:
        return str(layer.output_shape)
    except (AttributeError, RuntimeError):  # it is called in several places, or nowhere yet
        return ""


def kept(root: Path, key: str) -> Outcome | None:
    """Return the outcome of an earlier trial; None where there is none."""
    folder = prepared.folder(root, key, NAME)
    if not prepared.whole(folder):
        return None
    return of_json(json.loads((folder / _FILE).read_text(encoding="utf-8")))


def keep(root: Path, key: str, make: Callable[[], Outcome]) -> Outcome:
    """Return the outcome, from the store or else made and stored; of two processes only one makes it."""
    made: list[Outcome] = []

    def write(folder: Path) -> None:
        made.append(make())
        write_json(folder / _FILE, made[0].to_json())

    folder = prepared.prepare(root, key, write, NAME)
    return made[0] if made else of_json(json.loads((folder / _FILE).read_text(encoding="utf-8")))


@dataclass
class Bench:
    """A compiled model on which settings are tried.

    Attributes:
        batches: (settings) -> an endless tf.data dataset, whose batches are the same for all settings.
        restore: sets the model, its optimizer and its chance to where the fit starts.
        examples: in a step, on average.
        made: the execution of each of the settings that ran, traced and compiled.
    """

    model: Any
    batches: Callable[[Settings], Any]
    restore: Callable[[], None]
    examples: float
    made: dict[Settings, Execution] = field(default_factory=dict)

    def first_loss(self, settings: Settings) -> tuple[float, Any]:
        """Trace the steps of some settings; return the mean loss of the first ones, and the iterator they came from.

        Raises:
            InputError: XLA cannot compile them.
        """
        self.restore()
        self.model.reset_metrics()
        execution = Execution(self.model, wanted="auto", told=lambda *_: None, xla=settings.xla)
        iterator = iter(self.batches(settings))
        execution.run(iterator, 1)
        logs = execution.run(iterator, _COMPARED_STEPS)
        self.made[settings] = execution
        return float(logs["loss"]), iterator


def run(bench: Bench, candidates: Sequence[Settings], *, key: str, budget_s: float) -> Outcome:
    """Try settings in turns (A B A B ...); the model is left where the last step of the trial took it.

    Args:
        candidates: the plain settings first, which the others are held against.
        budget_s: no further round, and no further candidate, is begun after so many seconds.
    """
    started = time.monotonic()
    found: list[Candidate] = []
    iterators: dict[Settings, Any] = {}
    plain_loss = 0.0
    for settings in candidates:
        if found and time.monotonic() - started > budget_s:
            found.append(Candidate(settings, out=f"the trial's {budget_s:g} s were over"))
            continue
        try:
            loss, iterators[settings] = bench.first_loss(settings)
        except InputError as error:
            found.append(Candidate(settings, out=f"{error.what}: {error.found}"))
            continue
        plain_loss = loss if not found else plain_loss
        allowed = LOSS_TOLERANCE * abs(plain_loss)
        # written so that a loss that is not finite is out, too
        out = "" if abs(loss - plain_loss) <= allowed else f"its loss is {loss:.6g}, the plain settings' {plain_loss:.6g}"
        found.append(Candidate(settings, loss=loss, out=out))
    rates: dict[Settings, list[float]] = {one.settings: [] for one in found if not one.out}
    for turn in range(_ROUNDS):
        if turn > 1 and time.monotonic() - started > budget_s:
            break
        for settings, seen in rates.items():
            seen.append(_rate(bench, settings, iterators[settings]))
    found = [
        replace(one, examples_per_s=statistics.median(rates[one.settings])) if one.settings in rates else one
        for one in found
    ]
    chosen, why = _choose(found)
    return Outcome(key, tuple(found), chosen, why, round(time.monotonic() - started, 3))


def _rate(bench: Bench, settings: Settings, iterator: Any) -> float:
    execution = bench.made[settings]
    assert execution.step_s is not None  # `first_loss` has timed a step
    count = max(1, round(_ROUND_S / execution.step_s))
    before = execution.seconds
    execution.run(iterator, count)
    return bench.examples * count / (execution.seconds - before)


def _choose(found: Sequence[Candidate]) -> tuple[int, str]:
    plain = found[0].examples_per_s or 0.0
    best = max(range(len(found)), key=lambda place: found[place].examples_per_s or 0.0)
    gain = (found[best].examples_per_s or 0.0) / plain if plain else 1.0
    others = "; ".join(f"{one.settings} is out: {one.out}" for one in found if one.out)
    beside = f" ({others})" if others else ""
    if best == 0 or gain < WORTH:
        return 0, f"none of the others was faster by {WORTH - 1:.0%} or more{beside}"
    return best, f"{gain:.2f} times as fast as {found[0].settings}{beside}"
