"""export and measure on a small real model, and what is left when a converter or a runtime dies."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

import models
from pipeline import data
from pipeline.events import Event, Note
from pipeline.fastest import fastest
from pipeline.formats import keras_file, labels, tflite
from pipeline.isolate import Child
from pipeline.measuring import anatomy, baseline, behind_server, runtimes
from pipeline.report import document
from pipeline.report.answers import read_answers
from pipeline.report.baseline import read_baseline
from pipeline.report.model import read_models, write_models
from pipeline.stage import Result
from pipeline.stages import export, measure
from serving import layout
from serving.config import ServingConfig
from serving.target import embedded
from tests.pipeline.stages import crashing
from tests.pipeline.stages.small import DATA, MEASURE, METRICS, SMALL, by_id, job, measured, warnings

INT8 = "train.tflite.int8"


def export_with(
    function: object, trained: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Result, list[Event]]:
    events: list[Event] = []
    monkeypatch.setattr(export, "convert", function)
    return export.run(job(folder, events, train=trained), data=DATA, export=SMALL), events


def test_export_makes_every_planned_file_and_describes_it(exported: Path) -> None:
    found = by_id(exported)
    assert list(found) == [item.id for item in export.plan(SMALL, ["train"])]
    for artifact in found.values():
        assert artifact.error is None
        assert exported.joinpath(Path(str(artifact.path)).name).exists()
        assert artifact.macs == 64 * 16 + 16 * 10
        assert artifact.sparsity is not None
        assert (artifact.labels, artifact.beside) == (["labels.txt"], [])
        assert labels.read(exported / Path(str(artifact.path)).name) == {"": tuple("0123456789")}
    assert (exported / "labels.txt").read_text("utf-8") == "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"
    assert found["train.tflite.int8"].bytes < found["train.tflite.float32"].bytes  # type: ignore[operator]


def test_native_crash_of_a_converter_is_that_artifacts_error_and_the_others_are_made(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, events = export_with(crashing.convert_but_crash_in_float16, trained, tmp_path / "e", monkeypatch)
    found = by_id(tmp_path / "e")
    failed = found.pop("train.tflite.float16")
    assert "the converter died: " in str(failed.error)
    assert "SIGSEGV" in str(failed.error)
    assert failed.path is None
    assert [artifact.error for artifact in found.values()] == [None] * 4
    assert result.metrics["failed"] == 1
    assert result.transient == ()
    assert warnings(events) == [f"train.tflite.float16 failed: {failed.error}"]


def test_converter_killed_from_outside_is_an_error_that_is_not_kept(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, _ = export_with(crashing.convert_but_be_killed_in_float16, trained, tmp_path / "e", monkeypatch)
    (reason,) = result.transient
    assert reason.startswith("train.tflite.float16: ")
    assert "SIGKILL" in reason


def test_runtime_that_dies_is_that_artifacts_error_and_the_others_are_measured(
    trained: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "answer", crashing.answer_but_crash_in_onnx)
    found, result, events = measured(trained, exported, tmp_path / "m")
    failed = found.pop("train.onnx.float32")
    assert "the runtime died: " in str(failed.error)
    assert "SIGSEGV" in str(failed.error)
    assert failed.runs == []
    assert all(len(artifact.runs) == 1 and artifact.error is None for artifact in found.values())
    assert result.metrics["failed"] == 1
    assert warnings(events) == [f"train.onnx.float32 failed: {failed.error}"]
    with np.load(tmp_path / "m" / "logits.npz", allow_pickle=False) as logits:
        assert set(logits) == {"train.keras", *found}
    tested = read_answers(tmp_path / "m")
    assert tested is not None
    assert {one.of for one in tested.answers} == {"train.keras", *found}


def test_models_of_the_stages_are_measured_in_keras_when_nothing_was_exported(trained: Path, tmp_path: Path) -> None:
    student = tmp_path / "student"
    shutil.copytree(trained, student)
    network, _ = keras_file.read(trained)
    write_models([anatomy.describe(network, "distill")], student)
    result = measure.run(
        job(tmp_path / "m", [], train=trained, distill=student), data=DATA, measure=MEASURE, serving=None
    )
    first, second = read_models(tmp_path / "m")
    assert set(first.metrics) == METRICS
    assert first.judged == ["accuracy"]
    assert first.metrics["accuracy"].low <= first.metrics["accuracy"].value <= first.metrics["accuracy"].high
    for name in ("accuracy_drop", "accuracy_drop_against_previous"):
        assert second.metrics[name].value == 0  # the same network twice
        assert second.metrics[name].low < 0 < second.metrics[name].high
    assert (result.metrics["artifacts"], result.metrics["failed"]) == (0, 0)
    with np.load(tmp_path / "m" / "logits.npz", allow_pickle=False) as logits:
        assert set(logits) == {"train.keras", "distill.keras"}


def test_answers_to_the_test_split_are_kept_with_pictures_of_the_hardest_samples(trained: Path, tmp_path: Path) -> None:
    measure.run(job(tmp_path / "m", [], train=trained), data=DATA, measure=MEASURE, serving=None)
    tested = read_answers(tmp_path / "m")
    assert tested is not None
    split = data.load(DATA).test
    (found,) = tested.answers
    assert (tested.samples, tested.classes, found.of) == (len(split.y), list("0123456789"), "train.keras")
    assert sum(count for *_, count in found.cells) == len(split.y)
    with np.load(tmp_path / "m" / "logits.npz", allow_pickle=False) as logits:
        answered = logits["train.keras"].argmax(axis=1)
    wrong = {i for i in range(len(split.y)) if answered[i] != split.y[i]}
    assert {one.index for one in found.hardest} <= wrong  # an untrained model has more than enough of them
    for one in found.hardest:
        assert (one.label, one.answer) == (split.y[one.index], answered[one.index])
        assert one.picture == f"stages/measure/examples/{one.index}.png"
        assert (tmp_path / "m" / "examples" / f"{one.index}.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "m" / "examples").iterdir())) == len(found.hardest)


def test_baseline_is_put_beside_every_model_where_it_is_asked_for(trained: Path, tmp_path: Path) -> None:
    asked = MEASURE.model_copy(update={"baseline": True})
    measure.run(job(tmp_path / "m", [], train=trained), data=DATA, measure=asked, serving=None)
    found = read_baseline(tmp_path / "m")
    assert found is not None
    assert (found.name, [one.of for one in found.gains]) == ("logistic regression", ["train.keras"])
    assert found.metrics["accuracy"].value > 0.9
    (model,) = read_models(tmp_path / "m")
    lost = model.metrics["accuracy"].value - found.metrics["accuracy"].value
    assert found.gains[0].metrics["accuracy"].value == pytest.approx(lost)


def test_baseline_that_there_is_none_of_is_left_out_with_a_word(trained: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    several = dataclasses.replace(data.load(DATA).spec, inputs=data.load(DATA).spec.inputs * 2)
    splits = dataclasses.replace(data.load(DATA), spec=several)
    measure._put_beside(splits, {}, 100, job(tmp_path / "m", events, train=trained))
    assert [event.text for event in events if isinstance(event, Note)] == [
        "measure.baseline is left out: the model has several inputs or outputs"
    ]
    assert read_baseline(tmp_path / "m") is None


def test_baseline_that_cannot_be_fitted_ends_nothing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> None:
        raise baseline.UnfittedError("empty vocabulary")

    monkeypatch.setattr(baseline, "fit", refused)
    events: list[Event] = []
    measure._put_beside(data.load(DATA), {}, 100, job(tmp_path / "m", events, train=trained))
    (note,) = [event.text for event in events if isinstance(event, Note)]
    assert note == "measure.baseline is left out: empty vocabulary"
    assert read_baseline(tmp_path / "m") is None


def test_samples_that_are_no_images_have_no_pictures(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(120, 6)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", x_train=rows, y_train=np.arange(120) % 2)
    flat = data.DataConfig(source="npz", path=str(tmp_path / "rows.npz"))
    spec = data.load(flat).spec
    network = models.build(models.mlp.Config(architecture="mlp", dense=(4,)), spec, seed=0)
    (tmp_path / "train").mkdir()
    keras_file.write(network, spec, tmp_path / "train")
    write_models([anatomy.describe(network, "train")], tmp_path / "train")
    measure.run(job(tmp_path / "m", [], train=tmp_path / "train"), data=flat, measure=MEASURE, serving=None)
    tested = read_answers(tmp_path / "m")
    assert tested is not None
    assert len(tested.answers[0].hardest) > 0
    assert {one.picture for one in tested.answers[0].hardest} == {None}
    assert not (tmp_path / "m" / "examples").exists()


def test_file_that_lacks_the_zeros_that_its_stage_promised_is_that_artifacts_error(
    trained: Path, tmp_path: Path
) -> None:
    dense = tmp_path / "dense"
    shutil.copytree(trained, dense)
    network, _ = keras_file.read(dense)
    write_models([anatomy.describe(network, "train", targets={"dense_1": 0.9})], dense)
    config = export.Config(tflite=("float32",), onnx=())
    result = export.run(job(tmp_path / "e", [], train=dense), data=DATA, export=config)
    for artifact in by_id(tmp_path / "e").values():
        assert str(artifact.error).startswith(f"{artifact.id}: the file lacks zeros that the model has")
        assert "found: dense_1/kernel has " in str(artifact.error)
        assert not (tmp_path / "e" / Path(artifact.id)).exists()
    assert (result.metrics, result.transient) == ({"artifacts": 0, "failed": 2}, ())


def test_runtime_that_dies_under_load_is_found_among_its_neighbours(
    trained: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "time", crashing.time_but_crash_with_int8)
    found, _, _ = measured(trained, exported, tmp_path / "m")
    assert "the runtime died: " in str(found["train.tflite.int8"].error)
    float16 = found["train.tflite.float16"].runs[0].latency
    assert [latency.scenario for latency in float16] == ["SingleStream", "MultiStream"]
    assert float16[0].speedup is not None
    assert float16[0].speedup.against == "train.tflite.float32"


def test_damaged_file_is_that_artifacts_error(trained: Path, exported: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "exported"
    shutil.copytree(exported, damaged)
    (damaged / "train.onnx.float32.onnx").write_bytes(b"not a model")
    found, _, _ = measured(trained, damaged, tmp_path / "m")
    assert found["train.onnx.float32"].error
    assert found["train.tflite.float32"].error is None


def test_failed_reference_leaves_the_others_measured_without_a_drop(
    trained: Path, exported: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "exported"
    shutil.copytree(exported, damaged)
    (damaged / "train.saved_model.float32/1/saved_model.pb").write_bytes(b"")
    found, _, _ = measured(trained, damaged, tmp_path / "m")
    assert found["train.saved_model.float32"].error
    assert set(found["train.tflite.float32"].runs[0].metrics) == METRICS


def test_files_are_measured_with_other_threads_beside_and_are_started_afresh(
    trained: Path, exported: Path, tmp_path: Path
) -> None:
    how = MEASURE.model_copy(update={"also_threads": (2,)})
    found, _, events = measured(trained, exported, tmp_path / "m", how=how)
    assert warnings(events) == []
    assert {name: [run.threads for run in one.at_other_threads] for name, one in found.items()} == {
        name: [] if one.format == "saved_model" else [2] for name, one in found.items()
    }
    for one in found.values():
        assert [run.threads for run in one.runs] == [1]  # what limits and figures rest on
        for run in one.at_other_threads:
            assert run.runtime == one.runs[0].runtime
            assert run.parity.samples == one.runs[0].parity.samples
            assert set(run.metrics) == set(one.runs[0].metrics) > {"accuracy_drop"}
        assert (one.runs[0].startup is None) == (one.format == "saved_model")
        for start in (run.startup for run in (*one.runs, *one.at_other_threads)):
            if start:
                assert (start.repeats, start.batch) == (len(start.loads_ms), 1)
                assert start.load_ms > 0 < start.first_ms
                assert (start.delegated is None) == (one.format == "onnx")
    faster = found[INT8].at_other_threads[0].latency[0].speedup
    assert faster is not None
    assert faster.against == "train.tflite.float32"  # with as many threads
    with np.load(tmp_path / "m" / "logits.npz", allow_pickle=False) as logits:
        assert f"{INT8}@2-threads" in logits
    tested = read_answers(tmp_path / "m")
    assert tested is not None
    assert [one.of for one in tested.answers] == ["train.keras", *found]  # once, and not for each number of threads
    every = found["train.tflite.float32"].runs[0].startup
    assert every is not None
    assert every.delegated is not None
    assert (every.delegated.taken, every.delegated.left) == (every.delegated.operators, {})


SERVED = ServingConfig(target="embedded")
SAVED_MODEL = "train.saved_model.float32"


@pytest.fixture
def only_saved_model(exported: Path, tmp_path: Path) -> Path:
    """An export of nothing but the SavedModel."""
    folder = tmp_path / "exported"
    shutil.copytree(exported / SAVED_MODEL, folder / SAVED_MODEL)
    document.write_artifacts([by_id(exported)[SAVED_MODEL]], folder)
    return folder


def test_served_model_has_a_run_for_each_protocol_and_survives_malformed_requests(
    trained: Path, only_saved_model: Path, tmp_path: Path
) -> None:
    found, result, events = measured(trained, only_saved_model, tmp_path / "m", SERVED)
    assert warnings(events) == []
    assert result.transient == ()
    runs = found[SAVED_MODEL].runs
    assert [(run.runtime, run.protocol, run.target, run.threads) for run in runs] == [
        ("served", "grpc", "embedded", 1), ("served", "rest", "embedded", 1)
    ]  # fmt: skip
    for run in runs:
        assert run.parity.top1_agreement == 1.0
        assert run.parity.max_abs_error < 1e-4
        assert [latency.scenario for latency in run.latency] == ["SingleStream", "MultiStream"]
        assert [(check.name, check.problems) for check in run.checks] == [("malformed-requests", [])]
    with np.load(tmp_path / "m" / "logits.npz", allow_pickle=False) as logits:
        assert set(logits) == {"train.keras", f"{SAVED_MODEL}@grpc", f"{SAVED_MODEL}@rest"}
    assert {path.name for path in (tmp_path / "m").iterdir()} == {
        "answers.json", "artifacts.json", "examples", "logits.npz", "models.json"
    }  # fmt: skip
    tested = read_answers(tmp_path / "m")
    assert tested is not None
    assert [one.of for one in tested.answers] == ["train.keras", SAVED_MODEL]  # once, and not for each protocol


def test_served_model_that_answers_malformed_requests_fails_and_keeps_its_figures(
    trained: Path, only_saved_model: Path, tmp_path: Path
) -> None:
    shutil.rmtree(only_saved_model / SAVED_MODEL)
    with Child(deadline_s=120, memory_mb=None) as child:
        child.call(crashing.write_unguarded, trained, only_saved_model / SAVED_MODEL)
    found, result, events = measured(trained, only_saved_model, tmp_path / "m", SERVED)
    artifact = found[SAVED_MODEL]
    assert str(artifact.error).startswith("it does not survive malformed requests: ")
    assert len(artifact.runs) == 2
    assert artifact.runs[0].checks[0].problems
    assert result.transient == ()
    assert result.metrics["failed"] == 1
    assert warnings(events) == [f"{SAVED_MODEL} failed: {artifact.error}"]


@pytest.fixture
def with_int8(exported: Path, only_saved_model: Path) -> Path:
    """An export of the SavedModel and the int8 .tflite."""
    shutil.copy(exported / f"{INT8}.tflite", only_saved_model)
    document.write_artifacts([by_id(exported)[name] for name in (SAVED_MODEL, INT8)], only_saved_model)
    return only_saved_model


def test_int8_tflite_is_measured_in_litert_and_behind_the_server_against_the_served_saved_model(
    trained: Path, with_int8: Path, tmp_path: Path
) -> None:
    found, result, events = measured(trained, with_int8, tmp_path / "m", SERVED)
    assert (warnings(events), result.transient) == ([], ())
    runs = found[INT8].runs
    assert [(run.runtime, run.protocol, run.target) for run in runs] == [
        ("litert", None, "in-process"), ("served", "grpc", "embedded"), ("served", "rest", "embedded")
    ]  # fmt: skip
    alone, *behind = runs
    for run in behind:
        assert run.parity == alone.parity  # the same integers
        assert run.metrics == alone.metrics
        one = run.single_stream()
        assert one is not None
        assert one.speedup is not None
        assert one.speedup.against == SAVED_MODEL
        (check,) = run.checks
        assert (check.problems, check.requests > 20) == ([], True)
    table = fastest(list(found.values()), SAVED_MODEL)
    assert table is not None
    assert sorted((row.protocol, row.artifact) for row in table.rows) == [
        ("grpc", SAVED_MODEL), ("grpc", INT8), ("rest", SAVED_MODEL), ("rest", INT8)
    ]  # fmt: skip
    assert all((row.model_ms is None) == (row.artifact == SAVED_MODEL) for row in table.rows)


def beside_the_saved_models(exported: Path, events: list[Event], **keys: object) -> tuple[str, ...]:
    serving = ServingConfig.model_validate({"target": "embedded", **keys})
    files = {name: exported / f"{name}.tflite" for name in by_id(exported) if ".tflite." in name}
    return behind_server.lite(
        list(by_id(exported).values()), files, embedded.find(serving), serving, events.append, measure.NAME
    )


def test_tflite_files_are_served_in_the_precisions_that_the_recipe_names(exported: Path) -> None:
    assert beside_the_saved_models(exported, []) == (INT8,)
    assert beside_the_saved_models(exported, [], tflite=[]) == ()
    assert beside_the_saved_models(exported, [], tflite=["float16"]) == ("train.tflite.float16",)


def test_tflite_that_a_server_would_answer_wrongly_is_not_served_and_said_so(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tflite, "unservable", lambda _: "it has variable tensors")
    events: list[Event] = []
    assert beside_the_saved_models(exported, events) == ()
    assert [event.text for event in events if isinstance(event, Note)] == [
        f"{INT8} is measured in LiteRT alone, and not behind a server: it has variable tensors"
    ]


def test_int8_tflite_that_the_server_cannot_load_keeps_its_own_runtime_unless_the_recipe_asks_for_it(
    trained: Path, with_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(source: str, target: str) -> None:
        if target.endswith(".tflite"):
            Path(target).write_bytes(b"nothing that can be loaded")
        else:
            shutil.copy(source, target)

    monkeypatch.setattr(layout, "link_or_copy", broken)
    found, result, events = measured(trained, with_int8, tmp_path / "m", SERVED)
    assert (found[INT8].error, result.metrics["failed"], result.transient) == (None, 0, ())
    assert [run.runtime for run in found[INT8].runs] == ["litert"]
    assert [run.protocol for run in found[SAVED_MODEL].runs] == ["grpc", "rest"]
    assert "the server cannot load it" in str(found[INT8].unserved)
    assert warnings(events)[-1] == (
        f"{INT8} is not served, which nobody asked for by name: it is measured in its own runtime alone"
    )
    asked = SERVED.model_copy(update={"tflite": ("int8",)})
    found, result, _ = measured(trained, with_int8, tmp_path / "asked", asked)
    assert (found[INT8].error is None, found[INT8].unserved, result.metrics["failed"]) == (False, None, 1)


def test_server_that_does_not_refuse_what_is_malformed_is_told_and_no_fault_of_a_tflite(
    trained: Path, with_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "survive", crashing.survive_but_not_as_a_tflite)
    found, _, events = measured(trained, with_int8, tmp_path / "m", SERVED)
    assert found[INT8].error is None
    assert found[INT8].runs[1].checks[0].problems == ["a request of shape [2] (rank 1) was answered"]
    assert warnings(events)[0] == (
        f"{INT8}, served over grpc: nothing in a .tflite can refuse a request, and the server does not: a request of "
        "shape [2] (rank 1) was answered"
    )


def test_model_that_no_server_can_load_fails_with_the_servers_words(
    trained: Path, only_saved_model: Path, tmp_path: Path
) -> None:
    (only_saved_model / SAVED_MODEL / "1" / "saved_model.pb").write_bytes(b"nothing that can be loaded")
    found, result, _ = measured(trained, only_saved_model, tmp_path / "m", SERVED)
    assert "the embedded server ended before the model was loaded" in str(found[SAVED_MODEL].error)
    assert "saved_model.pb" in str(found[SAVED_MODEL].error)
    assert result.transient == ()
