"""Int8 files of one float model, by other tools and by modelmill: `python -m tests.benchmarks.peers [cnn] [resnet8]`.

    python -m tests.benchmarks.peers --mnist mnist.npz --cifar cifar10 --resnet8 FILE.keras --work FOLDER [--again]

*cnn* is the network of the recipe mnist, trained here; *resnet8* is a Keras file that was trained before, as by
`modelmill train cifar10-resnet8 --set model.depth=8`. Each is quantized after training by onnxruntime,
ai-edge-quantizer, TensorFlow's converter (`peer_files.py`) and modelmill, with the same calibration samples, and with
training (QAT) by modelmill, as the recipe says. All files answer the whole test split in their runtimes, and those of
one runtime are timed in turns. Stopped and given again, it goes on: findings are in results/peers.json.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import data, recipe
from pipeline.measuring import footprint
from tests.benchmarks import commands, findings, peer_files
from tests.benchmarks.answers import answers, compared
from tests.benchmarks.findings import Findings

RECIPES = {"cnn": "mnist", "resnet8": "cifar10-resnet8"}
FLOATS = {".tflite": "float32 .tflite", ".onnx": "float32 .onnx"}  # the references of the others in their runtimes
REFERENCE = FLOATS[".tflite"]
ONLY = ("distill", "shrink", "prune", "measure", "judge", "serving")  # sections that the comparison has no use for
# what training for int8 loses is a figure of the table, and no reason to stop
QAT = "quantize.on_regression=continue"
EXPORT = ("export.tflite=[float32, int8, int8.int8-ends]", "export.onnx=[float32, int8, int8.ort]")


def trained(overrides: Sequence[str], work: Path) -> Path:
    """Train the recipe mnist's network, and return its Keras file."""
    without = [f"{section}=null" for section in (*ONLY, "quantize", "export")]
    findings.ran(RECIPES["cnn"], [*overrides, *without], work / "train", work / "store", until="train")
    return work / "train" / "stages" / "train" / "model.keras"


def ours(name: str, model: Path, overrides: Sequence[str], work: Path) -> dict[str, Path]:
    """Quantize a Keras file by modelmill, after training and with it, and return its files."""
    found: dict[str, Path] = {}
    for way, without in (("ptq", (*ONLY, "train", "quantize")), ("qat", (*ONLY, "train"))):
        removed = [f"{section}=null" for section in without]
        asked = [*overrides, f"model={{path: {model.resolve()}}}", QAT, *EXPORT, *removed]
        report = findings.ran(RECIPES[name], asked, work / way, work / "store")
        found |= {one["id"]: work / way / one["path"] for one in report["artifacts"] if one["path"]}
    return {
        FLOATS[".tflite"]: found["import.tflite.float32"],
        "modelmill .tflite, int8": found["import.tflite.int8"],
        "modelmill .tflite, int8, int8 ends": found["import.tflite.int8.int8-ends"],
        "modelmill .tflite, int8, QAT": found["quantize.tflite.int8"],
        FLOATS[".onnx"]: found["import.onnx.float32"],
        "modelmill .onnx, int8": found["import.onnx.int8"],
        "modelmill .onnx, int8.ort": found["import.onnx.int8.ort"],
        "modelmill .onnx, int8, QAT": found["quantize.onnx.int8"],
    }


def theirs(model: Path, calibration: np.ndarray, work: Path) -> dict[str, Path]:
    """Quantize a Keras file by the other tools, in a process without modelmill, and return their files."""
    given = np.asarray(calibration, np.float32)
    of = hashlib.sha256(model.read_bytes() + given.tobytes()).hexdigest()[:16]
    folder = work / f"peers-{of}"
    folder.mkdir(exist_ok=True)
    samples = folder / "calibration.npy"
    np.save(samples, given)
    made = [sys.executable, "-m", "tests.benchmarks.peer_files", str(model), str(samples), str(folder)]
    subprocess.run(made, check=True)
    names = {
        "TensorFlow's converter": peer_files.TENSORFLOW,
        "ai-edge-quantizer, static_wi8_ai8": peer_files.EDGE,
        "onnxruntime, int8 activations": peer_files.SIGNED,
        "onnxruntime, uint8 activations": peer_files.UNSIGNED,
    }
    return {label: folder / file for label, file in names.items()}


def main() -> None:
    """Make all files, compare them and print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="cnn, resnet8 (default: both)")
    parser.add_argument("--mnist", type=commands.existing_file, help="mnist.npz, for cnn")
    parser.add_argument("--cifar", type=commands.existing, help="folder with train/CLASS and test/CLASS, for resnet8")
    parser.add_argument(
        "--resnet8", type=commands.existing_file, metavar="FILE.keras", help="a float ResNet-8, trained on --cifar"
    )
    parser.add_argument(
        "--work", type=commands.folder, required=True, help="where findings, runs, their store and the files go"
    )
    commands.add_again(parser, "the times")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="a key of the recipes")
    given = parser.parse_args()
    given.networks = given.networks or list(RECIPES)
    needed = {"cnn": ("mnist",), "resnet8": ("cifar", "resnet8")}
    for name in given.networks:
        if name not in RECIPES:
            parser.error(f"{name} is no network: expected {' or '.join(RECIPES)}")
        for option in needed[name]:
            if not getattr(given, option):
                parser.error(f"{name} needs --{option}")
    options = "--mnist mnist.npz --cifar cifar10 --resnet8 FILE.keras --work FOLDER"
    found = Findings("peers", f"python -m tests.benchmarks.peers {options}", given.work)
    for name in given.networks:
        if given.again:
            found.again(f"{name}, times")
        print(f"\n{_one(name, given, found)}\n\n{found.told(name)}", flush=True)


def _one(name: str, given: argparse.Namespace, found: Findings) -> str:
    """Compare the files of a network, and return its table."""
    work = given.work / name
    work.mkdir(parents=True, exist_ok=True)
    overrides = [f"data.path={(given.mnist if name == 'cnn' else given.cifar).resolve()}", *given.set]
    model = trained(overrides, work) if name == "cnn" else given.resnet8
    resolved = recipe.load(RECIPES[name], overrides)
    assert resolved.data is not None
    splits: Any = data.load(resolved.data, work / "store")
    files = ours(name, model, overrides, work) | theirs(model, splits.calibration.x[:], work)

    quality = found.once(f"{name}, answers", lambda: _quality(files, splits, resolved.seed), findings.contents(files))
    times: dict[str, Any] = {}
    for suffix, reference in FLOATS.items():
        alike = {label: file for label, file in files.items() if file.suffix == suffix}
        timed = partial(_timed, alike, reference, work / f"bench{suffix}")
        times |= found.once(f"{name}, times of {suffix}", timed, findings.contents(alike))
    order = [label for suffix in FLOATS for label, file in files.items() if file.suffix == suffix]
    told = f"{name}: {quality['test_samples']:,} test samples, {quality['calibration_samples']:,} of calibration"
    rows = [_row(label, quality["models"][label], times[label]) for label in order]
    return f"{told}, seed {quality['seed']}.\n\n{findings.table(HEAD, rows)}"


def _quality(files: dict[str, Path], splits: Any, seed: int) -> dict[str, Any]:
    """Return what each file is worth over the test split, and its size."""
    told = compared({label: answers(file, splits.test.x) for label, file in files.items()}, splits.test.y, REFERENCE)
    for label, file in files.items():
        size = footprint.size(file)
        told[label] |= {"bytes": size.bytes, "gzip_bytes": size.gzip_bytes}
    counts = {"test_samples": len(splits.test), "calibration_samples": len(splits.calibration)}
    return {"models": told, "seed": seed, **counts}


def _timed(files: dict[str, Path], reference: str, work: Path) -> dict[str, Any]:
    """Time the files of one runtime in turns."""
    return findings.bench(files, work, against=reference, scenarios=("single-stream",), failing=True)


HEAD = ("file", "accuracy", "points to float", "bytes", "gzip", "p50 us", "queries", "times as fast as float")


def _row(label: str, worth: dict[str, Any], took: dict[str, Any]) -> tuple[str, ...]:
    beside = "" if label == REFERENCE else findings.told_gain(worth["points_lost"])
    sizes = (f"{worth['bytes']:,}", f"{worth['gzip_bytes']:,}")
    if "error" in took:
        return (label, f"{worth['accuracy']:.2%}", beside, *sizes, took["error"], "", "")
    speed = (f"{1000 * took['p50_ms'][0]:.1f}", f"{took['p50_ms_n']:,}", findings.told_ratio(took["ratio"]))
    return (label, f"{worth['accuracy']:.2%}", beside, *sizes, *speed)


if __name__ == "__main__":
    commands.ended(main)
