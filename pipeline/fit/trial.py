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
COMPARED_STEPS = 8
_DRAWS = 3
_ROUNDS, _ROUND_S = 5, 0.4
_FILE = "outcome.json"


@dataclass(frozen=True)
class Settings:
    """Of the steps of a fit: compiled with XLA or not, and how batches are made for them."""

    xla: bool = False
    feeding: Feeding = field(default_factory=Feeding)

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
        restore: (draw) -> None sets the model and its optimizer to where the fit starts, and what is drawn (dropout and
            the like) to one of many sequences, of which 0 is the fit's.
        drawn: whether anything is drawn.
        examples: in a step, on average.
        made: execution with and without XLA, traced and compiled.
        failed: settings with XLA whose steps ended in an error, and what it was.
    """

    model: Any
    batches: Callable[[Settings], Any]
    restore: Callable[[int], None]
    drawn: bool
    examples: float
    made: dict[bool, Execution] = field(default_factory=dict)
    failed: dict[Settings, str] = field(default_factory=dict)

    def first_loss(self, settings: Settings, draw: int = 0) -> float:
        """Return the mean loss of the first steps.

        Raises:
            InputError: XLA cannot compile them.
            OpError: they end in another of TensorFlow's errors.
        """
        self.restore(draw)
        self.model.reset_metrics()
        iterator = iter(self.batches(settings))
        if settings.xla not in self.made:
            execution = Execution(self.model, wanted="auto", told=lambda *_: None, xla=settings.xla)
            execution.run(iterator, 1)
            self.made[settings.xla] = execution
            return self.first_loss(settings, draw)
        return float(self.made[settings.xla].run(iterator, COMPARED_STEPS)["loss"])

    def race(self, runners: Sequence[Settings], rounds: int, until: float) -> dict[Settings, float]:
        """Return examples/s of settings that take turns (A B A B ...), the median of the rounds; two at least.

        Settings are missing that had no time to begin, and those with XLA that ended in an error (see `failed`).

        Args:
            until: no further round begins after this time.monotonic(), nor are other batches made than the first's.
        """
        iterators: dict[Settings, Any] = {}
        for settings in runners:
            # what is to be held in memory is read here
            late = settings.feeding != runners[0].feeding and time.monotonic() > until
            if not late:
                iterators[settings] = iter(self.batches(settings))
        seen: dict[Settings, list[float]] = {settings: [] for settings in iterators}
        for turn in range(rounds):
            if turn > 1 and time.monotonic() > until:
                break
            for settings in list(seen):
                try:
                    seen[settings].append(self._rate(settings, iterators[settings]))
                except refusals() as error:
                    if not settings.xla:
                        raise
                    del seen[settings]
                    self.failed[settings] = _said(error)
        return {settings: statistics.median(rates) for settings, rates in seen.items()}

    def _rate(self, settings: Settings, iterator: Any) -> float:
        execution = self.made[settings.xla]
        assert execution.step_s is not None  # `first_loss` has timed a step
        count = max(1, round(_ROUND_S / execution.step_s))
        before = execution.seconds
        execution.run(iterator, count)
        return self.examples * count / (execution.seconds - before)


def run(bench: Bench, feedings: Sequence[Feeding], *, key: str, budget_s: float) -> Outcome:
    """Try XLA, then other ways to make batches; the model is left where the last step of the trial took it.

    Args:
        feedings: the usual one first.
        budget_s: no further round and no further candidate begins after so many seconds.
    """
    started = time.monotonic()
    plain, compiled = Settings(False, feedings[0]), Settings(True, feedings[0])
    first = Candidate(plain, loss=bench.first_loss(plain))
    found = [first, _compiled(bench, compiled, first)]
    rates = bench.race([one.settings for one in found if not one.out], _ROUNDS, started + budget_s)
    best = max(rates, key=lambda settings: rates[settings])
    best = best if rates[best] >= WORTH * rates[plain] else plain
    others = [Settings(best.xla, feeding) for feeding in feedings[1:]]
    if others and time.monotonic() - started < budget_s:
        again = bench.race([best, *others], _ROUNDS, started + budget_s)
        if best in again:
            # turns of another time, so in proportion to what both have run
            rates |= {settings: again[settings] / again[best] * rates[best] for settings in others if settings in again}
    found += [Candidate(settings) for settings in others]
    rates = {settings: rate for settings, rate in rates.items() if settings not in bench.failed}
    over = f"the trial's {budget_s:g} s were over"
    found = [
        replace(
            one, examples_per_s=rates.get(one.settings),
            out=one.out or ("" if one.settings in rates else bench.failed.get(one.settings, over)),
        )
        for one in found
    ]  # fmt: skip
    chosen, why = _choose(found)
    return Outcome(key, tuple(found), chosen, why, round(time.monotonic() - started, 3))


def _compiled(bench: Bench, settings: Settings, plain: Candidate) -> Candidate:
    """Return what becomes of XLA: its loss has to be that of the plain settings.

    XLA draws other numbers for dropout and the like: then it may be as far off as twice what other draws change.
    """
    assert plain.loss is not None
    try:
        loss = bench.first_loss(settings)
    except refusals() as error:
        return Candidate(settings, out=_said(error))
    allowed = LOSS_TOLERANCE * abs(plain.loss)
    if bench.drawn:
        losses = [bench.first_loss(plain.settings, draw) for draw in range(1, 1 + _DRAWS)]
        allowed += 2 * max(abs(other - plain.loss) for other in losses)
    if abs(loss - plain.loss) <= allowed:
        return Candidate(settings, loss=loss)
    # a loss that is not finite comes here, too
    text = f"its loss over {COMPARED_STEPS} steps is {loss:.6g}, the plain settings' {plain.loss:.6g}"
    return Candidate(settings, loss=loss, out=f"{text}, and {allowed:.2g} of difference is allowed")


def refusals() -> tuple[type[Exception], ...]:
    """Return the errors by which XLA refuses a model's steps, or runs out of memory at them."""
    import tensorflow as tf

    return InputError, tf.errors.OpError


def _said(error: Exception) -> str:
    if isinstance(error, InputError):
        return f"{error.what}: {error.found}"
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"its steps end in {type(error).__name__}: {line[:300]}"


def _choose(found: Sequence[Candidate]) -> tuple[int, str]:
    plain = found[0].examples_per_s or 0.0
    best = max(range(len(found)), key=lambda place: found[place].examples_per_s or 0.0)
    gain = (found[best].examples_per_s or 0.0) / plain if plain else 1.0
    if best == 0 or gain < WORTH:
        why = f"XLA is out: {found[1].out}" if found[1].out else f"nothing else was faster by {WORTH - 1:.0%} or more"
        return 0, why
    return best, f"{gain:.2f} times as fast as {found[0].settings}"
