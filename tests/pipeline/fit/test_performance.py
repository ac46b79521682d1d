"""Steps that run at once, XLA and trials of settings: what they must not change, and what they tell."""

from __future__ import annotations

import json
import re
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.compress import pruning
from pipeline.compute.config import Compute
from pipeline.data.batches import Feeding
from pipeline.errors import DivergedError, InputError
from pipeline.events import Event, Note, Progress, Trained
from pipeline.fit import loop, settings, trial
from pipeline.fit.settings import Choice
from pipeline.fit.trial import Bench, Candidate, Outcome, Settings
from pipeline.legacy_keras import load as load_keras
from pipeline.report.speed import Speed, said
from tests.pipeline.fit.test_loop import SPLITS, _cnn, _fit, _killed_after, _model, _same

SNAPSHOT = settings.snapshot
TWO = {"epochs": 2, "early_stopping": None, "batch_size": 8}


def _compute(store: Path | None = None, **performance: Any) -> Compute:
    found = Compute.model_validate({"performance": performance})
    return found.model_copy(update={"store": store})


def _lstm() -> Any:
    spec = SPLITS.spec
    keras = load_keras()
    keras.utils.set_random_seed(0)
    inputs = keras.Input(spec.input.shape)
    rows = keras.layers.Reshape((4, 4))(inputs)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dropout(0.2)(keras.layers.LSTM(6)(rows))))


@pytest.mark.parametrize(
    "make",
    [_model, lambda: _cnn(dropout=0.5), _lstm],
    ids=["mlp", "cnn with dropout", "lstm with dropout"],
)
def test_weights_are_bit_equal_whatever_number_of_steps_runs_at_once(tmp_path: Path, make: Any) -> None:
    one, several = make(), make()
    history = _fit(one, tmp_path / "1", config=TWO, compute=_compute(steps_per_execution=1))
    assert _fit(several, tmp_path / "3", config=TWO, compute=_compute(steps_per_execution=3)) == history
    assert _same(one, several)


def test_pruned_weights_are_bit_equal_whatever_number_of_steps_runs_at_once(tmp_path: Path) -> None:
    when = pruning.schedule(
        initial_sparsity=0.2, begin_epoch=0.4, end_epoch=1.6, power=3.0, frequency=2, steps=5, epochs=2
    )
    pruned = []
    for steps in (1, 4):
        wrapped = pruning.wrap(_cnn(), {"conv_1": 0.5, "logits": 0.75}, when)
        _fit(
            wrapped, tmp_path / str(steps), config=TWO, compute=_compute(steps_per_execution=steps),
            callbacks=[pruning.callback()],
        )  # fmt: skip
        pruned.append(pruning.strip(wrapped))
    assert _same(*pruned)
    pruning.require(pruned[0], {"conv_1": 0.5, "logits": 0.75}, stage="prune")


def test_steps_until_which_a_loss_was_finite_are_told_when_several_ran_at_once(tmp_path: Path) -> None:
    config = {**TWO, "optimizer": {"name": "sgd", "learning_rate": 1e38}, "schedule": {"name": "constant"}}
    with pytest.raises(DivergedError, match="train: the loss is not finite in epoch 1, by step 4 of 5"):
        _fit(_model(), tmp_path, config=config, compute=_compute(steps_per_execution=4))


def test_speed_of_a_fit_is_told_at_its_end(tmp_path: Path) -> None:
    told: list[Event] = []
    _fit(_model(), tmp_path, config=TWO, emit=told.append)
    trained = told[-1]
    assert isinstance(trained, Trained)
    speed = trained.speed
    assert speed["examples_per_s"] == pytest.approx(8000 / speed["step_ms"])
    assert 0 <= speed["input_share"] <= 1
    assert speed["peak_memory_mb"] > 100
    assert not speed["xla"]
    text = said(Speed.model_validate(speed))
    assert re.search("no XLA, batches made ahead: too short to try settings: about [0-9.]+ s$", text)
    assert re.match("[0-9,]+ examples/s, [0-9.e+]+ ms a step, [0-9]+ % of it waiting for input, [0-9,]+ MB; ", text)


def test_settings_are_tried_once_and_weights_are_bit_equal_given_the_outcome_when_a_fit_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "WORTH_TRYING", 1e-9)
    monkeypatch.setattr(trial, "_ROUND_S", 0.02)
    compute = _compute(tmp_path / "store", budget_s=20)
    first, second, resumed = (_cnn(dropout=0.3) for _ in range(3))
    told: list[Event] = []
    history = _fit(first, tmp_path / "first", config=TWO, emit=told.append, compute=compute)
    assert [event.text for event in told if isinstance(event, Note)] == [
        "this takes long enough to try settings of its steps, for about 20 s (performance.budget_s)"
    ]
    found = told[-1].speed  # type: ignore[union-attr]
    (outcome,) = (tmp_path / "store").glob("performance-*[!.lock]")
    assert outcome.name == f"performance-{found['outcome']}"
    stored = trial.of_json(json.loads((outcome / "outcome.json").read_text()))
    assert trial.of_json(stored.to_json()) == stored
    assert [one["settings"] for one in found["tried"]][:2] == ["no XLA, batches made ahead", "XLA, batches made ahead"]
    assert all((one["examples_per_s"] or 0) > 0 or one["out"] for one in found["tried"])
    assert found["xla"] == stored.settings.xla

    told.clear()
    assert _fit(second, tmp_path / "second", config=TWO, emit=told.append, compute=compute) == history
    assert not [event for event in told if isinstance(event, Note)]  # the outcome was found
    assert _same(first, second)

    with pytest.raises(KeyboardInterrupt):
        _fit(_cnn(dropout=0.3), tmp_path / "killed", config=TWO, emit=_killed_after(1), compute=compute)
    elsewhere = _compute(tmp_path / "another store", budget_s=20)
    assert _fit(resumed, tmp_path / "killed", config=TWO, compute=elsewhere) == history
    assert _same(first, resumed)


def test_trial_leaves_no_trace_when_the_plain_settings_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, tried = _cnn(dropout=0.3), _cnn(dropout=0.3)
    history = _fit(plain, tmp_path / "plain", config=TWO, compute=_compute(xla="off"))
    monkeypatch.setattr(trial, "WORTH_TRYING", 1e-9)
    monkeypatch.setattr(trial, "_ROUND_S", 0.02)
    monkeypatch.setattr(trial, "WORTH", 1e9)
    told: list[Event] = []
    assert _fit(tried, tmp_path / "tried", config=TWO, emit=told.append, compute=_compute(budget_s=20)) == history
    assert _same(plain, tried)
    assert told[-1].speed["outcome"]  # type: ignore[union-attr]


def test_start_of_a_fit_is_copied_only_while_a_trial_may_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[weakref.ref[Any]] = []
    alive: list[bool] = []

    def snapshot(model: Any) -> Any:
        restore = SNAPSHOT(model)
        taken.append(weakref.ref(restore))
        return restore

    def emit(event: Event) -> None:
        if isinstance(event, Progress) and event.unit == "epoch":
            alive.append(any(one() is not None for one in taken))

    monkeypatch.setattr(settings, "snapshot", snapshot)
    _fit(_model(), tmp_path / "off", config=TWO, emit=emit, compute=_compute(xla="off"))
    assert not taken
    _fit(_model(), tmp_path / "auto", config=TWO, emit=emit, compute=_compute())
    assert len(taken) == 1
    assert alive == [False] * 4


def test_xla_learns_as_the_plain_steps_do_when_it_is_asked_for(tmp_path: Path) -> None:
    told: list[Event] = []
    plain = _fit(_cnn(), tmp_path / "plain", config=TWO, compute=_compute(xla="off"))
    compiled = _fit(_cnn(), tmp_path / "xla", config=TWO, emit=told.append, compute=_compute(xla="on"))
    assert compiled.epochs["loss"] == pytest.approx(plain.epochs["loss"], rel=0.02)
    assert told[-1].speed["xla"]  # type: ignore[union-attr]
    assert told[-1].speed["why"] == "as the recipe says (performance.xla)"  # type: ignore[union-attr]


def _unsupported() -> Any:
    """A model with an operation that XLA does not have: texts."""
    keras = load_keras()
    import tensorflow as tf

    class Spelled(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any) -> Any:
            return inputs + 0 * tf.strings.to_number(tf.strings.as_string(tf.stop_gradient(inputs)))

    inputs = keras.Input(SPLITS.spec.input.shape)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(Spelled()(inputs))))


def test_model_that_xla_cannot_compile_is_refused_when_the_recipe_wants_xla(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="XLA cannot compile the steps of this model") as refused:
        _fit(_unsupported(), tmp_path, config=TWO, compute=_compute(xla="on"))
    assert refused.value.todo == "performance.xla: off"
    assert "AsString" in refused.value.found


class _Bench(Bench):
    """Losses and speeds that are given."""

    def __init__(self, losses: dict[Settings, list[float]], rates: dict[Settings, float], *, drawn: bool) -> None:
        super().__init__(None, lambda _: None, lambda _: None, drawn, 1)
        self.losses, self.rates = losses, rates

    def first_loss(self, settings: Settings, draw: int = 0) -> float:
        if not self.losses[settings]:
            raise InputError("XLA cannot compile the steps of this model", found="no kernel")
        return self.losses[settings][draw]

    def race(self, runners: Any, rounds: int, until: float) -> dict[Settings, float]:  # noqa: ARG002
        return {settings: self.rates[settings] for settings in runners}


PLAIN, XLA = Settings(), Settings(xla=True)


@pytest.mark.parametrize(
    ("losses", "drawn", "chosen", "why"),
    [
        ([1.009], False, 1, "2.00 times as fast as no XLA, batches made ahead"),
        ([1.02], False, 0, "XLA is out: its loss over 8 steps is 1.02, the plain settings' 1, and 0.01 of difference"),
        ([float("nan")], False, 0, "XLA is out: its loss over 8 steps is nan"),
        ([1.2], True, 1, "2.00 times as fast"),
        ([1.3], True, 0, "XLA is out: its loss over 8 steps is 1.3, the plain settings' 1, and 0.21 of difference"),
        ([], False, 0, "XLA is out: XLA cannot compile the steps of this model: no kernel"),
    ],
    ids=["alike", "other", "not finite", "other draws", "more than other draws", "not compiled"],
)
def test_xla_is_taken_only_where_its_loss_is_that_of_the_plain_settings(
    losses: list[float], drawn: bool, chosen: int, why: str
) -> None:
    bench = _Bench({PLAIN: [1.0, 1.1, 0.95, 1.0], XLA: losses}, {PLAIN: 100.0, XLA: 200.0}, drawn=drawn)
    found = trial.run(bench, [Feeding()], key="k", budget_s=1)
    assert (found.chosen, found.candidates[1].loss is not None) == (chosen, bool(losses))
    assert found.why.startswith(why)


def test_other_ways_to_feed_are_tried_with_the_faster_of_both() -> None:
    inline = Settings(xla=True, feeding=Feeding(ahead=False))
    bench = _Bench({PLAIN: [1.0], XLA: [1.0]}, {PLAIN: 100.0, XLA: 200.0, inline: 250.0}, drawn=False)
    found = trial.run(bench, [Feeding(), Feeding(ahead=False)], key="k", budget_s=1)
    assert found.settings == inline
    assert found.why == "2.50 times as fast as no XLA, batches made ahead"


def test_small_gain_changes_nothing() -> None:
    bench = _Bench({PLAIN: [1.0], XLA: [1.0]}, {PLAIN: 100.0, XLA: 102.0}, drawn=False)
    found = trial.run(bench, [Feeding()], key="k", budget_s=1)
    assert (found.settings, found.why) == (PLAIN, "nothing else was faster by 3% or more")


class _Steps:
    """Steps that are given a duration, and an error after some of them."""

    def __init__(self, step_s: float, fails_after: int | None = None) -> None:
        self.step_s, self.seconds, self.left = step_s, 0.0, fails_after

    def run(self, _: Any, count: int) -> dict[str, float]:
        import tensorflow as tf

        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise tf.errors.ResourceExhaustedError(None, None, "\nOut of memory while compiling\n...")
        self.seconds += self.step_s * count
        return {"loss": 1.0}


@pytest.mark.parametrize("rounds", [0, 1, 3, 6], ids=["its loss", "the first round", "a later one", "the second race"])
def test_plain_settings_are_taken_when_steps_with_xla_end_in_an_error(rounds: int) -> None:
    made: dict[bool, Any] = {False: _Steps(0.01), True: _Steps(0.001, fails_after=rounds)}
    bench = Bench(SimpleNamespace(reset_metrics=lambda: None), lambda _: iter(()), lambda _: None, False, 1, made)
    found = trial.run(bench, [Feeding(), Feeding(ahead=False)], key="k", budget_s=60)
    assert found.settings == PLAIN
    assert found.candidates[1].out == "its steps end in ResourceExhaustedError: Out of memory while compiling"
    assert found.candidates[0].examples_per_s == pytest.approx(100)


def test_samples_are_not_read_into_memory_when_the_budget_is_over() -> None:
    made: dict[bool, Any] = {False: _Steps(0.01), True: _Steps(0.02)}
    wanted: list[Settings] = []

    def batches(settings: Settings) -> Any:
        wanted.append(settings)
        return iter(())

    bench = Bench(SimpleNamespace(reset_metrics=lambda: None), batches, lambda _: None, False, 1, made)
    found = trial.run(bench, [Feeding(), Feeding(memory=True)], key="k", budget_s=0)
    assert not any(settings.feeding.memory for settings in wanted)
    assert found.candidates[2].out == "the trial's 0 s were over"


def test_samples_are_not_read_into_memory_when_it_is_less_than_at_the_trial(tmp_path: Path) -> None:
    held = Settings(xla=True, feeding=Feeding(memory=True))
    outcome = Outcome("b" * 24, (Candidate(PLAIN, 10.0), Candidate(held, 30.0)), 1, "3.00 times as fast")
    trial.keep(tmp_path, outcome.key, lambda: outcome)
    free = Choice(_compute(), tmp_path, outcome.key, (Feeding(), Feeding(memory=True)), before=None, untried="")
    assert (free.settings, free.why) == (held, "by the trial bbbbbbbb: 3.00 times as fast")
    full = Choice(_compute(), tmp_path, outcome.key, (Feeding(),), before=None, untried="")
    assert full.settings == XLA
    assert full.why.endswith(
        "; but batches made ahead, samples read into memory would take too much of the memory that is free now"
    )


def test_trial_of_less_data_is_not_taken_for_one_of_more() -> None:
    model, whole = _model(), SPLITS.train
    data: Any = SimpleNamespace(cache=True, prefetch=None, augment=None)

    def key(samples: int) -> str:
        part = type(whole)(whole.x[:samples], whole.y[:samples])  # type: ignore[index]
        found = settings.basis(model, (), part, data, batch_size=8, optimizer=None, loss=None, dtype="off")
        return trial.key(found)

    assert key(10) == key(10) != key(20)


def test_outcome_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    outcome = Outcome("a" * 24, (Candidate(PLAIN, 10.0, 1.0), Candidate(XLA, out="no")), 0, "why")
    assert trial.keep(tmp_path, outcome.key, lambda: outcome) == outcome
    assert trial.kept(tmp_path, outcome.key) == outcome
    (tmp_path / f"performance-{outcome.key}" / "outcome.json").write_text("{")
    assert trial.kept(tmp_path, outcome.key) is None
    assert trial.keep(tmp_path, outcome.key, lambda: outcome) == outcome


def test_snapshot_sets_weights_and_optimizer_back() -> None:
    model = _model()
    model.compile(optimizer="adam", loss="mse")
    model.optimizer.build(model.trainable_variables)
    before = [variable.numpy() for variable in (*model.weights, *model.optimizer.variables)]
    restore = settings.snapshot(model)
    model.fit(SPLITS.train.x, SPLITS.train.x.reshape(40, -1)[:, :3], verbose=0)
    restore()
    after = [variable.numpy() for variable in (*model.weights, *model.optimizer.variables)]
    assert all((one == two).all() for one, two in zip(before, after, strict=True))


def test_profile_of_some_steps_is_written_and_weights_stay(tmp_path: Path) -> None:
    plain, profiled = _model(), _model()
    _fit(plain, tmp_path / "plain", config=TWO)
    compute = _compute().model_copy(update={"profile": tmp_path / "profile"})
    _fit(profiled, tmp_path / "profiled", config=TWO, compute=compute)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    assert _same(plain, profiled)


def test_only_xla_is_decisive() -> None:
    def decisive(**performance: Any) -> Any:
        return _compute(**performance).decisive()

    assert decisive(steps_per_execution=4, budget_s=3) == decisive()
    assert decisive(xla="off") != decisive()
    assert _compute(Path("x")).decisive() == decisive()


def test_steps_are_still_watched_when_a_callback_has_them_traced_anew(tmp_path: Path) -> None:
    keras = load_keras()
    model = _model()

    def begin(epoch: int, _logs: Any) -> None:
        if epoch == 1:
            model.layers[-1].trainable = False
            model.make_train_function(force=True)

    told: list[Event] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=begin)
    _fit(
        model, tmp_path, config=TWO, callbacks=[watch], emit=told.append, compute=_compute(steps_per_execution=1)
    )  # fmt: skip
    # five steps an epoch, of which the first after each tracing is not timed
    assert told[-1].speed["steps"] == 8  # type: ignore[union-attr]
    assert "make_train_function" not in vars(model)


@pytest.mark.parametrize(("below", "of"), [("", ""), ("round_1", "round_1"), ("control/round_1", "control/round_1")])
def test_fit_is_named_by_its_folders_below_the_stages_work(below: str, of: str) -> None:
    assert loop.part_of_stage(Path("store/shrink-0.partial/work") / below) == of
