"""How many nodes two simplifiers leave in float .onnx files, whether they answer alike, and what ONNX Runtime runs.

python -m tests.benchmarks.onnx_graphs [ARCHITECTURE...]          # untrained models of models/, 16x16x3 images
python -m tests.benchmarks.onnx_graphs --runs FILE.onnx...        # kinds of operators after ONNX Runtime's optimizer
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx as library
import onnxruntime

import models
from pipeline.formats import onnx
from pipeline.formats.onnx.simplify import simplified
from pipeline.predictor import Spec, classifier

IMAGES = ("cnn", "resnet", "mobilenet", "efficientnet", "ds_cnn")
SPEC = classifier("image", (16, 16, 3), (0.0, 255.0), tuple("abcde"))


def optimized(path: Path, level: Any) -> Any:
    """Return the graph that ONNX Runtime makes of a file at a level of its optimizer."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.graph_optimization_level = 4, level
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return library.load(options.optimized_model_filepath)


def compared(name: str, spec: Spec, folder: Path) -> str:
    """Return a line of the table."""
    path = folder / f"{name}.onnx"
    onnx.write(models.build(models.MODELS[name].Config(), spec, 3), path, spec, simplify=False)
    plain = library.load(path)
    slim, why = simplified(plain, spec)
    library.save(slim, folder / "slim.onnx")
    basic = optimized(path, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC)
    (one,) = spec.inputs
    batch = np.random.default_rng(0).uniform(*one.value_range, (8, *one.shape)).astype(np.float32)
    first, second = (onnx.load(file, spec, 1).predict(batch)[spec.ends[0]] for file in (path, folder / "slim.onnx"))
    counts = " ".join(f"{len(proto.graph.node):9}" for proto in (plain, slim, basic))
    return f"{name:16}{counts}   {np.abs(first - second).max():.1e}  {why or 'simplified'}"


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--runs"]:
        for file in arguments[1:]:
            graph = optimized(Path(file), onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL).graph
            kinds = Counter(node.op_type for node in graph.node)
            print(f"{file}: {', '.join(f'{kind} x{count}' for kind, count in kinds.most_common())}")
        return
    print(f"{'':16}  tf2onnx  onnxslim  ORT basic   onnxslim's largest difference")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments or IMAGES:
            print(compared(name, SPEC, Path(folder)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
