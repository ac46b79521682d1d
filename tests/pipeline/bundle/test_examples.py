"""The examples of a bundle, run on its golden pairs with nothing but a runtime: LiteRT, ONNX Runtime or TFLM."""

from __future__ import annotations

import importlib.util
import json
import re
import runpy
import shutil
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline import data
from pipeline.bundle import examples
from pipeline.data import DataConfig
from pipeline.edge.ends import quantized
from pipeline.signature import End
from tests.pipeline.bundle.conftest import Bundled
from tests.pipeline.bundle.small import FLOAT_ENDS, INT8_ENDS, ONNX
from tests.pipeline.edge import tflm_host

GCC = ("gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
GPP = ("g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic")


def told(command: Sequence[str | Path], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in an environment that names nothing of ours."""
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )  # fmt: skip


def compiled(command: Sequence[str | Path], cwd: Path) -> None:
    done = told(command, cwd)
    assert done.returncode == 0, done.stderr


def library() -> Path:
    """Return the folder of libLiteRt.so."""
    found = importlib.util.find_spec("ai_edge_litert")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def fresh(folder: Path, *packages: str) -> Path:
    """Return the Python of a virtual environment that has these packages and no other."""
    venv.create(folder, with_pip=False, symlinks=True)
    (home,) = (folder / "lib").glob("python*/site-packages")
    site = library().parent
    for package in ("numpy", "numpy.libs", *packages):
        (home / package).symlink_to(site / package)
    return folder / "bin/python"


def test_python_example_finds_the_golden_answers_with_nothing_but_litert(bundled: Bundled, tmp_path: Path) -> None:
    python = fresh(tmp_path / "venv", "ai_edge_litert")
    assert told([python, "-c", "import pipeline"], tmp_path).stderr.endswith("No module named 'pipeline'\n")
    assert told([python, "-c", "import tensorflow"], tmp_path).returncode == 1
    for artifact in (FLOAT_ENDS, INT8_ENDS):
        done = told([python, bundled(artifact) / "examples/python/check.py", "--exact"], tmp_path)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "good"), done.stdout + done.stderr
        assert done.stdout.count("largest difference 0, allowed 0") == 6


def test_python_example_finds_the_golden_answers_with_nothing_but_onnx_runtime(
    bundled: Bundled, tmp_path: Path
) -> None:
    python = fresh(tmp_path / "venv", "onnxruntime")
    done = told([python, bundled(ONNX) / "examples/python/check.py", "--exact"], tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "good"), done.stdout + done.stderr


def test_python_example_makes_the_golden_integers_of_raw_samples_and_names_the_class(
    bundled: Bundled, tmp_path: Path
) -> None:
    folder = bundled(INT8_ENDS)
    index = json.loads((folder / "golden/index.json").read_text())
    image = json.loads((folder / "signature.json").read_text())["inputs"][0]
    values = runpy.run_path(str(folder / "examples/python/values.py"))
    test = data.load(DataConfig()).test
    for pair in index["pairs"]:
        (place,) = pair["test_samples"]
        raw = np.asarray(test.x[place : place + 1])  # type: ignore[index]
        golden = np.fromfile(folder / "golden" / pair["inputs"]["image"]["file"], np.int8)
        np.testing.assert_array_equal(values["to_input"](image, raw).ravel(), golden)
    python = fresh(tmp_path / "venv", "ai_edge_litert")
    said = [told([python, folder / "examples/python/check.py"]).stdout, c_example(folder).stdout]
    named = [re.findall(r"answer (.+)", one) for one in said]
    highest = [
        str(np.fromfile(folder / "golden" / pair["outputs"][name]["file"], np.int8).argmax())
        for pair in index["pairs"] for name in ("logits", "probabilities")
    ]  # fmt: skip
    assert named == [highest, highest]


def test_c_makes_integers_of_values_as_numpy_does(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    values = np.concatenate([
        draw.normal(0, 20, 500), np.arange(-300, 300) / 2 * 0.25, [0.0, -0.0, 1e9, -1e9, np.inf, -np.inf, 32.0, -32.0]
    ]).astype(np.float32)  # fmt: skip
    scale, zero = np.float32(0.25), -3
    shutil.copy(examples._HERE / "c/raw_values.h", tmp_path)
    (tmp_path / "all.c").write_text(
        '#include <stdio.h>\n#include <math.h>\n#include "raw_values.h"\nint main(void) {\n  float value;\n'
        f'  while (scanf("%f", &value) == 1) printf("%d\\n", (int)to_input(value, {scale}f, {zero}, -128, 127));\n'
        "  return (int)from_output(1, 0.5f, 3) + 1;\n}\n"
    )
    compiled([*GCC, "all.c", "-o", "all"], tmp_path)
    given = "\n".join(f"{value:.9g}" for value in values)
    done = subprocess.run([tmp_path / "all"], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    wanted = quantized(values, End("x", "int8", (None,), (float(scale), zero)))
    assert list(map(int, done.stdout.split())) == wanted.tolist()


def test_examples_say_where_answers_differ_when_a_golden_output_is_another(bundled: Bundled, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundled(INT8_ENDS), folder)
    index = json.loads((folder / "golden/index.json").read_text())
    output = folder / "golden" / index["pairs"][1]["outputs"]["logits"]["file"]
    values = np.fromfile(output, np.int8)
    far = np.where(values < 0, values + 90, values - 90).astype(np.int8)
    far.tofile(output)
    python = fresh(tmp_path / "venv", "ai_edge_litert")
    done = told([python, folder / "examples/python/check.py"])
    assert done.returncode == 1
    assert "pair 1 logits: largest difference 90, allowed" in done.stdout
    assert done.stdout.endswith("DIFFERENT\n")
    data = folder / "examples/c/golden_data.c"
    text = data.read_text()
    lines = text.split("static const int8_t output_1_0[10] = {\n")
    assert len(lines) == 2
    data.write_text(f"{lines[0]}static const int8_t output_1_0[10] = {{\n    {', '.join(map(str, far))},\n}};\n"
                    + lines[1].partition("};\n")[2])  # fmt: skip
    done = c_example(folder)
    assert done.returncode == 1
    assert "pair 1 logits: largest difference 90, allowed 0" in done.stdout


def c_example(bundle: Path) -> subprocess.CompletedProcess[str]:
    """Compile the C example against LiteRT, so that no difference is allowed, and run it."""
    folder = bundle / "examples/c"
    link = (f"-L{library()}", "-lLiteRt", f"-Wl,-rpath,{library()}")
    compiled([*GCC, "-DEXACT", "-I..", "check.c", "run_litert.c", "golden_data.c", *link, "-o", "check"], folder)
    return told([folder / "check"], folder)


@pytest.mark.parametrize("artifact", [FLOAT_ENDS, INT8_ENDS])
def test_c_example_finds_the_golden_answers_in_litert(artifact: str, bundled: Bundled) -> None:
    done = c_example(bundled(artifact))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "good"), done.stdout + done.stderr
    assert done.stdout.count("largest difference 0, allowed 0") == 6


def test_c_example_finds_the_golden_answers_in_tflm(bundled: Bundled, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(bundled(INT8_ENDS) / "examples/c", folder)
    for name in ("golden.h", "raw_values.h"):
        shutil.copy(bundled(INT8_ENDS) / "examples" / name, folder)
    names = ("check.c", "run_tflm.c", "golden_data.c", "model.c", "model_runtime.cc")
    done = told([tflm_host.program([folder / name for name in names], folder)])
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "good"), done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 7


def test_cpp_example_finds_the_golden_answers_in_litert_and_refuses_other_sizes(
    bundled: Bundled, tmp_path: Path
) -> None:
    folder = bundled(INT8_ENDS) / "examples/cpp"
    link = (f"-L{library()}", "-lLiteRt", f"-Wl,-rpath,{library()}")
    compiled([*GPP, "-I..", "check.cc", *link, "-o", "check"], folder)
    done = told([folder / "check", "../..", "--exact"], folder)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "good"), done.stdout + done.stderr
    assert done.stdout.count("largest difference 0, allowed 0") == 6
    shutil.copytree(bundled(INT8_ENDS), tmp_path / "long")
    index = json.loads((tmp_path / "long/golden/index.json").read_text())
    with (tmp_path / "long/golden" / index["pairs"][0]["inputs"]["image"]["file"]).open("ab") as file:
        file.write(bytes(192))  # as floats of the same picture would be
    done = told([folder / "check", tmp_path / "long"])
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "image takes 64 bytes, not 256")
