from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline import speeds
from pipeline.artifact import Store
from pipeline.compute.config import Compute
from pipeline.console import Reporter, Streams
from pipeline.events import Event, Note, Trained
from pipeline.fit import trial
from pipeline.fit.trial import Candidate, Outcome, Settings
from pipeline.garbage import collect
from pipeline.report import page
from pipeline.report.document import Report
from pipeline.run_folder import RunFolder
from tests.pipeline.report import shapes

KEY = "a" * 24
SPEED: dict[str, Any] = {
    "of": "", "examples_per_s": 12345.6, "step_ms": 2.5, "input_share": 0.034, "steps": 90, "seconds": 4.0,
    "peak_memory_mb": 812.3, "peak_device_memory_mb": None, "steps_per_execution": 45, "xla": True,
    "feeding": "batches made ahead", "why": "by the trial aaaaaaaa: 1.40 times as fast as no XLA", "outcome": KEY,
    "chosen": 1, "trial_s": 7.25,
    "tried": [
        {"settings": "no XLA, batches made ahead", "examples_per_s": 8818.2, "loss": 1.25, "out": ""},
        {"settings": "XLA, batches made ahead", "examples_per_s": 12345.4, "loss": 1.25, "out": ""},
        {"settings": "XLA, batches made in line", "examples_per_s": None, "loss": None, "out": "over <budget>"},
    ],
}  # fmt: skip


def _folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "runs" / "one")
    folder.path.mkdir(parents=True)
    return folder


def test_gc_keeps_the_trial_that_a_run_rests_on_and_removes_it_with_the_run(tmp_path: Path) -> None:
    folder, store = _folder(tmp_path), Store(tmp_path / "runs" / ".store")
    outcome = Outcome(KEY, (Candidate(Settings()),), 0, "why")
    trial.keep(store.root, KEY, lambda: outcome)
    speeds.refer([SPEED, SPEED], store, folder, "train")
    assert [path.name for path in (folder.path / "stages").iterdir()] == ["performance-train-1"]
    assert collect(store) == []
    speeds.refer([], store, folder, "train")
    assert [name for name, _ in collect(store)] == [f"performance-{KEY}"]
    assert trial.kept(store.root, KEY) is None


def test_gc_removes_what_a_further_worker_has_when_no_run_refers_to_it(tmp_path: Path) -> None:
    folder, store = _folder(tmp_path), Store(tmp_path / "runs" / ".store")
    part, other = Store(store.root / "worker-1"), "b" * 24
    outcome = Outcome(KEY, (Candidate(Settings()),), 0, "why")
    for key in (KEY, other):
        trial.keep(part.root, key, lambda: outcome)
    speeds.refer([SPEED], part, folder, "train")
    folder.path.rename(folder.path.with_name("renamed"))  # it lies beside the whole store
    assert [name for name, _ in collect(store, dry_run=True)] == [f"worker-1/performance-{other}"]
    assert [name for name, _ in collect(store)] == [f"worker-1/performance-{other}"]
    assert trial.kept(part.root, KEY) is not None
    assert trial.kept(part.root, other) is None


def test_profile_of_an_earlier_run_is_not_taken_for_one_of_this_run(tmp_path: Path) -> None:
    folder, store = _folder(tmp_path), Store(tmp_path / "store")
    earlier = folder.path / "profile" / "train"
    earlier.mkdir(parents=True)
    speeds.of_this_run({"compute": Compute()}, store, folder, "prune", profile=True)
    assert earlier.is_dir()
    speeds.of_this_run({"compute": Compute()}, store, folder, "train", profile=True)
    told: list[Event] = []
    speeds.tell_profile(told.append, folder, "train")
    assert [event.text for event in told if isinstance(event, Note)] == [
        "nothing was profiled: it has too few steps; more epochs have more"
    ]


def test_compute_of_a_run_has_its_folders_and_decides_the_same(tmp_path: Path) -> None:
    folder, store = _folder(tmp_path), Store(tmp_path / "store")
    found = speeds.of_this_run({"compute": Compute(), "seed": 1}, store, folder, "train", profile=True)
    assert found["seed"] == 1
    assert (found["compute"].store, found["compute"].profile) == (store.root, folder.path / "profile" / "train")
    assert found["compute"].decisive() == Compute().decisive()
    plain = speeds.of_this_run({"compute": Compute(), "seed": 1}, store, folder, "train", profile=False)
    assert plain["compute"].profile is None


def test_listening_remembers_what_fits_tell_and_whose_it_is() -> None:
    told: list[Event] = []
    listening = speeds.Listening(told.append)
    listening(Note("train", "something else"))
    listening(Trained("train", SPEED))
    listening(Trained("train", SPEED, item="member 2 of 3"))
    assert len(told) == 3
    assert [fit["of"] for fit in listening.fits] == ["", "member 2 of 3"]


def test_speed_is_a_line_on_the_terminal(capsys: Any) -> None:
    Reporter(Streams(), "auto").emit(Trained("train", SPEED, item="member 2 of 3"))
    shown = capsys.readouterr().err
    assert (
        "train: member 2 of 3: 12,346 examples/s, 2.5 ms a step, 3 % of it waiting for input, 812 MB; 45 steps at "
        "once, XLA, batches made ahead: by the trial aaaaaaaa: 1.40 times as fast as no XLA"
    ) in shown


def test_page_has_the_speed_of_each_fit_and_what_was_tried() -> None:
    report = shapes.only_trained()
    stage = report.stages[0].model_dump() | {"fits": [SPEED]}
    text = page.render(Report.model_validate({**report.model_dump(by_alias=True), "stages": [stage]}))
    assert "Speed of training" in text
    assert "12,346" in text
    assert "out: over &lt;budget&gt;" in text
    assert "chosen" in text
