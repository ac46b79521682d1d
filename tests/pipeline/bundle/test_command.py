"""modelmill bundle: what it writes, what it refuses, and that it writes all or nothing."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import zipfile
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pipeline import cli, data
from pipeline.artifact import MANIFEST
from pipeline.bundle import archive
from pipeline.data import DataConfig
from pipeline.errors import GateError, InputError, RunError
from pipeline.files import write_json
from tests.pipeline.bundle import small
from tests.pipeline.bundle.conftest import Bundled
from tests.pipeline.bundle.small import FLOAT_ENDS, INT8_ENDS, ONNX
from tests.pipeline.finished_run import MODEL


def bundle(*arguments: str) -> None:
    cli.app(["bundle", *arguments], standalone_mode=False)


def changed(run: Path, **changes: Any) -> None:
    """Change what a run's report says."""
    path = run / "report.json"
    write_json(path, json.loads(path.read_text("utf-8")) | changes)


def test_bundle_of_the_same_run_has_the_same_bytes_in_another_process(run: Path, bundled: Bundled) -> None:
    before = bundled(INT8_ENDS).with_name(f"{INT8_ENDS}.zip")
    there = run.resolve()
    path = there.parent / before.name
    command = [sys.executable, "-m", "pipeline", "bundle", str(there), "--out", str(path), "--json"]
    # of another user, elsewhere, with another hash of strings
    apart = os.environ | {"PYTHONHASHSEED": "7", "HOME": str(there), "TZ": "Asia/Tokyo"}
    done = subprocess.run(command, cwd=there.parent, env=apart, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == {
        "event": "bundled", "artifact": INT8_ENDS, "verdict": "pass", "path": str(path),
        "bytes": path.stat().st_size, "notes": [], "exit_code": 0,
        "warnings": ["NOT JUDGED: The run compared nothing with limits: it is not known to be good."],
    }  # fmt: skip
    assert path.read_bytes() == before.read_bytes()
    with zipfile.ZipFile(path) as one:
        names = [item.filename for item in one.infolist()]
        assert names == sorted(names)
        for item in one.infolist():
            assert (item.date_time, stat.S_IMODE(item.external_attr >> 16)) == ((1980, 1, 1, 0, 0, 0), 0o644)


def test_zip_is_called_by_the_checked_recipe_whatever_the_report_says(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(run, recipe="../escape")
    (tmp_path / "in").mkdir()
    there = run.resolve()
    monkeypatch.chdir(tmp_path / "in")
    bundle(f"{there}:{ONNX}", "--quiet")
    assert [path.name for path in Path().iterdir()] == [f"digits-{ONNX}.zip"]
    assert not list(tmp_path.glob("*.zip"))


def test_run_that_did_not_write_down_its_data_is_refused(run: Path) -> None:
    manifest = run / "stages/export" / MANIFEST
    for basis in ({}, {"content": {}}, {"content": ["data"]}):
        write_json(manifest, json.loads(manifest.read_bytes()) | {"basis": basis})
        with pytest.raises(InputError, match=r"did not write down which data it had(.|\n)*found: none"):
            bundle(f"mine:{ONNX}")
    assert not list(Path().glob("*.zip"))


def test_file_that_failed_in_the_run_is_bundled_only_by_force(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifacts = json.loads((run / "report.json").read_text("utf-8"))["artifacts"]
    listed = [
        one | ({"error": "it ran past 240 s", "optional": True} if one["id"] == ONNX else {}) for one in artifacts
    ]
    changed(run, artifacts=listed)
    with pytest.raises(GateError, match=rf"{ONNX} failed in the run(.|\n)*found: it ran past 240 s(.|\n)*--force"):
        bundle(f"mine:{ONNX}")
    assert not list(Path().glob("*.zip"))
    bundle(f"mine:{ONNX}", "--force", "--out", "a.zip", "--quiet")
    assert "WARNING: this file failed in the run: it ran past 240 s. The card says so." in capsys.readouterr().err


def test_bundle_has_the_run_s_own_files_and_their_sums(bundled: Bundled, content: dict[str, bytes]) -> None:
    folder = bundled(FLOAT_ENDS)
    assert (folder / "model.tflite").read_bytes() == content[f"{FLOAT_ENDS}.tflite"]
    assert (folder / "labels.txt").read_bytes() == content["labels.txt"]
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    summed = {line.partition(": ")[0] for line in done.stdout.splitlines()}
    compiled = {name for name in made if name.endswith("/check")}  # by another test
    assert made - summed - compiled == {"SHA256SUMS"}
    assert {"MODEL_CARD.md", "LICENSE.md", "signature.json", "golden/index.json"} <= summed
    assert {name.split("/")[1] for name in summed if name.startswith("examples/")} == {
        "c", "cpp", "kotlin", "python", "golden.h", "litert_api.h", "raw_values.h",
    }  # fmt: skip


def test_signature_says_types_quantization_and_raw_range(bundled: Bundled) -> None:
    said = json.loads((bundled(INT8_ENDS) / "signature.json").read_text())
    (image,), (logits, probabilities) = said["inputs"], said["outputs"]
    assert (image["dtype"], image["shape"], image["raw_range"]) == ("int8", [None, 8, 8, 1], [0.0, 16.0])
    assert image["quantization"]["scale"] == pytest.approx(16 / 255, rel=0.01)
    assert (image["kind"], image["colour_order"]) == ("image", "one channel")
    assert (logits["meaning"], logits["labels"], probabilities["meaning"]) == ("logits", "labels.txt", "probabilities")
    assert probabilities["quantization"] == {"scale": 1 / 256, "zero_point": -128}
    assert said["signature_key"] == "serving_default"


def test_golden_inputs_are_samples_of_the_test_split_as_the_file_takes_them(bundled: Bundled) -> None:
    folder = bundled(INT8_ENDS)
    index = json.loads((folder / "golden/index.json").read_text())
    image = json.loads((folder / "signature.json").read_text())["inputs"][0]
    test = data.load(DataConfig()).test
    labels = [pair["right"]["logits"][0] for pair in index["pairs"]]
    assert len(set(labels)) == 3
    for pair, label in zip(index["pairs"], labels, strict=True):
        (place,) = pair["test_samples"]
        assert str(np.asarray(test.y)[place]) == label
        integers = np.fromfile(folder / "golden" / pair["inputs"]["image"]["file"], "<i1").reshape(1, 8, 8, 1)
        scale, zero = image["quantization"]["scale"], image["quantization"]["zero_point"]
        raw = np.asarray(test.x[place : place + 1])  # type: ignore[index]
        np.testing.assert_allclose((integers.astype(float) - zero) * scale, raw, atol=scale)
    assert all(1 <= most == int(most) for most in index["tolerance"].values())


@pytest.mark.parametrize("artifact", [FLOAT_ENDS, INT8_ENDS, ONNX])
def test_answers_to_another_sample_are_beyond_the_tolerance(artifact: str, bundled: Bundled) -> None:
    folder = bundled(artifact) / "golden"
    index = json.loads((folder / "index.json").read_text())
    for name, most in index["tolerance"].items():
        told = [pair["outputs"][name] for pair in index["pairs"]]
        arrays = [np.fromfile(folder / one["file"], one["dtype"]).astype(float) for one in told]
        assert all(np.abs(one - other).max() > most for one, other in combinations(arrays, 2)), name


def test_saved_model_is_refused_with_what_can_be_bundled(run: Path) -> None:
    with pytest.raises(InputError, match=rf"is a SavedModel\n  expected: a .tflite or an .onnx(.|\n)*{INT8_ENDS}"):
        bundle(f"{run}:{MODEL}")


def test_run_that_failed_is_bundled_only_by_force_and_the_card_says_so(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = {"stage": "prune", "message": "the loss is not finite", "exit_code": 4}
    changed(run, verdict="error", failure=failure)
    with pytest.raises(GateError, match=r"the run's verdict is error(.|\n)*bundle it all the same: --force"):
        bundle("mine:" + ONNX)
    assert list(Path().glob("*.zip")) == []
    bundle("mine:" + ONNX, "--force", "--out", "a.zip", "--quiet")
    assert "WARNING: the run's verdict is ERROR: the loss is not finite. The card" in capsys.readouterr().err
    with zipfile.ZipFile("a.zip") as archive:
        card = archive.read("a/MODEL_CARD.md").decode()
    assert "**WARNING: the run's verdict is ERROR.** the loss is not finite" in card


def test_file_that_is_there_is_not_written_over(run: Path) -> None:
    Path("there.zip").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"there.zip is there already(.|\n)*--force"):
        bundle(str(run), "--out", "there.zip")
    assert Path("there.zip").read_bytes() == b"mine"
    for out, message in (("no.tar", "ends in .zip"), ("nowhere/a.zip", "no nowhere")):
        with pytest.raises(InputError, match=message):
            bundle(str(run), "--out", out)


def test_nothing_is_left_when_the_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(b"mine")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(RunError, match=r"cannot write .*a.zip\n(.|\n)*No space left(.|\n)*free some space"):
        archive.write(tmp_path / "a.zip", "a", {"one": b"1"}, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert (tmp_path / "a.zip").read_bytes() == b"mine"


def test_file_that_came_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"theirs")
    with pytest.raises(InputError, match="is there already"):
        archive.write(tmp_path / "a.zip", "a", {"one": b"1"}, force=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert (tmp_path / "a.zip").read_bytes() == b"theirs"


def test_data_that_has_changed_or_gone_is_told(
    content: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small.run(Path("runs/other"), content, data="0123")
    with pytest.raises(InputError, match=r"the data of runs/other has changed since the run(.|\n)*hash 0123"):
        bundle(f"other:{ONNX}")
    text = Path("runs/other/recipe.yaml").read_text()
    source = text.replace("source: digits", "source: npz").replace("  path: null", "  path: gone.npz", 1)
    Path("runs/other/recipe.yaml").write_text(source)
    with pytest.raises(InputError, match=r"the data of runs/other cannot be read: golden(.|\n)*gone.npz"):
        bundle(f"other:{ONNX}")


def test_file_that_does_not_run_is_one_message(run: Path, content: dict[str, bytes], tmp_path: Path) -> None:
    there = small.run(tmp_path / "broken/mine", {**content, f"{ONNX}.onnx": b"no model"})
    with pytest.raises(InputError, match=rf"{ONNX} does not answer samples of the test split(.|\n)*ONNX Runtime runs"):
        bundle(f"{there}:{ONNX}")
    assert run.is_dir()


def test_file_that_needs_another_that_is_not_bundled_is_refused(content: dict[str, bytes], tmp_path: Path) -> None:
    model = onnx.load_from_string(content[f"{ONNX}.onnx"])
    onnx.external_data_helper.convert_model_to_external_data(model, location="weights.data", size_threshold=0)
    onnx.save(model, tmp_path / "model.onnx")
    lacking = {**content, f"{ONNX}.onnx": (tmp_path / "model.onnx").read_bytes()}
    there = small.run(tmp_path / "lacking/mine", lacking)
    (there / "artifacts/weights.data").write_bytes((tmp_path / "weights.data").read_bytes())
    with pytest.raises(InputError, match=rf"{ONNX} does not answer samples of the test split(.|\n)*weights.data"):
        bundle(f"{there}:{ONNX}")
