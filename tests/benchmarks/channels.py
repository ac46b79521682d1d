"""What removed channels buy in every runtime: `python -m tests.benchmarks.channels [CASE ...] [--keep FOLDER]`.

Each case goes through the command twice, as it is and with `shrink`: trained for an epoch, fine-tuned for one, exported
to every format, run in every runtime and behind the embedded server. How fast a network is does not depend on what it
has learned; agreement with the Keras model is that of every file. Images are scikit-learn's digits, enlarged. Speed-ups
are the report's own, paired by turns; those of int8 files, of which a run has only the last stage's, are taken here the
same way, and on a CPU with AMX once more without it (tests/benchmarks/amx.py). Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.students_t import geometric_mean
from tests.benchmarks.amx import deny, present
from tests.benchmarks.network_files import SIDES

MODELMILL = str(Path(sys.executable).with_name("modelmill"))
SAMPLES = 240
BLOCKS, SECONDS = 9, 0.3
# batches of large images are slow to write as JSON, and not what is compared
LATENCY = {"percentile": 0.8, "min_block_ms": 300, "blocks": BLOCKS, "batch_size": 2, "batch_min_block_ms": 10,
           "batch_percentile": 0.5}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A network, where it comes from, and what is to stay of its MACs.

    Attributes:
        model: the recipe's section; of a file the network's name and the version of Keras that writes it.
    """

    side: int
    macs: float
    model: dict[str, Any] | tuple[str, str]


CASES = {
    "resnet8": Case(32, 0.45, {"architecture": "resnet", "depth": 8}),
    "resnet18": Case(96, 0.5, {"architecture": "resnet", "depth": 18}),
    "resnet20": Case(32, 0.5, {"architecture": "resnet", "depth": 20}),
    "mobilenetv2": Case(96, 0.5, {"architecture": "mobilenet", "version": 2}),
    "efficientnetb0": Case(96, 0.5, {"architecture": "efficientnet"}),
    **{
        f"{name.lower()}-keras{version}": Case(side, 0.5, (name, version))
        for name, side in SIDES.items()
        for version in ("2", "3")
    },
}


def run(name: str, case: Case, folder: Path) -> list[dict[str, Any]]:
    """Run a case with and without removal, and return a row for each file that was compared."""
    data = folder / f"digits-{case.side}.npz"
    if not data.exists():
        images(case.side, data)
    recipe: dict[str, Any] = {
        "name": name, "data": {"source": "npz", "path": str(data)}, "model": _model(name, case, folder),
        "shrink": {"macs": case.macs, "epochs": 1, "batch_size": 32, "max_accuracy_loss": 1.0},
        "export": {"stages": "all", "saved_model": ["float32"], "tflite": ["float32", "int8"],
                   "onnx": ["float32", "int8"]},
        "measure": {"latency": LATENCY, "resamples": 100},
        "serving": {"target": "embedded"},
    }  # fmt: skip
    if isinstance(case.model, dict):
        recipe["train"] = {"epochs": 1, "batch_size": 32}
    whole = {**recipe, "name": f"{name}-whole", "shrink": None}
    whole["measure"] = None
    for one in (whole, recipe):
        path = folder / f"{one['name']}.yaml"
        path.write_text(yaml.safe_dump(one, sort_keys=False), encoding="utf-8")
        subprocess.run([MODELMILL, "run", str(path), "--quiet"], cwd=folder, check=True)
    found = json.loads((folder / "runs" / name / "report.json").read_text(encoding="utf-8"))
    bought = next(one for one in found["bought"] if one["stage"] == "shrink")
    rows = [
        {"case": name, "macs": 1 / bought["macs_ratio"], "artifact": one["artifact"],
         "place": " ".join(filter(None, (one["runtime"], one["protocol"]))), "speedup": one["value"],
         "low": one["low"], "high": one["high"], "parity": _parity(found, one["artifact"])}
        for one in bought["faster"]
    ]  # fmt: skip
    for suffix, place in ((".tflite", "litert"), (".onnx", "onnxruntime")):
        kind = suffix.removeprefix(".")
        first = "train" if isinstance(case.model, dict) else "import"
        files = [
            folder / "runs" / f"{name}-whole" / "artifacts" / f"{first}.{kind}.int8{suffix}",
            folder / "runs" / name / "artifacts" / f"shrink.{kind}.int8{suffix}",
        ]
        for amx in (True, False) if place == "litert" and present() else (True,):
            value, low, high = _apart(files, case.side, amx)
            rows.append(
                {"case": name, "macs": 1 / bought["macs_ratio"], "artifact": files[1].stem,
                 "place": place if amx else f"{place} without AMX", "speedup": value, "low": low, "high": high,
                 "parity": _parity(found, files[1].stem)}
            )  # fmt: skip
    return rows


def _model(name: str, case: Case, folder: Path) -> dict[str, Any]:
    if isinstance(case.model, dict):
        return case.model
    network, version = case.model
    path = folder / f"{name}.keras"
    subprocess.run([sys.executable, "-m", "tests.benchmarks.network_files", network, version, str(path)], check=True)
    return {"path": str(path)}


def images(side: int, path: Path) -> None:
    """Write digits as colour images of a size: uint8 [n, side, side, 3], values 0..255."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = (digits.images[:SAMPLES] * 15.9).astype(np.uint8)
    large = np.stack(
        [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BILINEAR)) for one in small]
    )
    np.savez(path, x_train=np.repeat(large[..., None], 3, axis=-1), y_train=digits.target[:SAMPLES])


def _parity(report: dict[str, Any], artifact: str) -> float:
    """Return the worst share of samples on which a file has the Keras model's answer, over all its places."""
    (found,) = [one for one in report["artifacts"] if one["id"] == artifact]
    return min(run["parity"]["top1_agreement"] for run in found["runs"])


def _apart(files: list[Path], side: int, amx: bool) -> tuple[float, float, float]:
    """Return `_paired` of two files, in a process of its own: one that was denied AMX never gets it again."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), None if amx else deny) as process:
        return process.submit(_paired, *files, side).result()


def _paired(before: Path, after: Path, side: int) -> tuple[float, float, float]:
    """Return how many times faster one file answers a sample than another, one thread, by turns, with its interval."""
    asks = [_asks(path, side) for path in (before, after)]
    ratios = []
    for _ in range(BLOCKS):
        old, new = (_median(ask) for ask in asks)
        ratios.append(old / new)
    return geometric_mean(ratios)


def _median(ask: Any) -> float:
    times: list[float] = []
    ask()
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        started = time.perf_counter()
        ask()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def _asks(path: Path, side: int) -> Any:
    sample = np.random.default_rng(0).uniform(0, 255, (1, side, side, 3)).astype(np.float32)
    if path.suffix == ".onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: sample}
        return lambda: session.run(None, feed)
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    runner = interpreter.get_signature_runner()
    (name,) = runner.get_input_details()
    return lambda: runner(**{name: sample})


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; none: all")
    parser.add_argument("--keep", type=Path, help="folder for the runs; none: a temporary one")
    given = parser.parse_args()
    if unknown := [name for name in given.cases if name not in CASES]:
        parser.error(f"expected cases of {', '.join(CASES)}, found {', '.join(unknown)}")
    print(
        "| network | MACs | file | runtime | speed-up | 95 % | agreement |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        folder.mkdir(exist_ok=True)
        for name in given.cases or CASES:
            for row in run(name, CASES[name], folder):
                print(
                    f"| {row['case']} | {row['macs']:.1%} | {row['artifact']} | {row['place']} "
                    f"| {row['speedup']:.2f} | {row['low']:.2f} to {row['high']:.2f} | {row['parity']:.1%} |",
                    flush=True,
                )  # fmt: skip


if __name__ == "__main__":
    main()
