"""Reports of every shape that a run can have, made from the typed document with figures like those of real runs."""

from __future__ import annotations

import base64
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.bought import bought
from pipeline.gates import gate
from pipeline.report.answers import Answers, Example, SplitAnswers
from pipeline.report.document import Artifact, Report, Stage
from pipeline.report.model import Model
from pipeline.report.shipped import Shipped

# a grey pixel
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")
MACHINE = {
    "cpu": "Example(R) Processor 9000 @ 2.50GHz", "cores": 2, "memory_mb": 16384, "system": "Linux-6.1-x86_64",
    "python": "3.11.7", "versions": {"tensorflow": "2.21.0", "tensorflow-model-optimization": "0.8.1"},
}  # fmt: skip
SETTINGS = {"name": "shape", "train": {"epochs": 30}, "measure": {"threads": 1}, "judge": None}
START = {
    "repeats": 5, "batch": 1, "load_ms": 4.2, "first_ms": 0.9, "loads_ms": [4.2] * 5, "firsts_ms": [0.9] * 5,
    "memory_mib": 1.1, "mapped_mib": 0.2,
}  # fmt: skip
PLACES: dict[str, list[dict[str, Any]]] = {
    "saved_model": [
        {"runtime": "served", "protocol": protocol, "target": "embedded", "encoding": "tensor_content",
         "server": {"implementation": "modelmill", "version": "0.1.0", "image": None},
         "checks": [{"name": "malformed-requests", "requests": 32, "problems": []}]}
        for protocol in ("grpc", "rest")
    ],
    "tflite": [
        {"runtime": "litert",
         "startup": START | {"delegated": {"operators": 8, "taken": 7, "partitions": 2, "left": {"SOFTMAX": 1}}}}
    ],
    "onnx": [{"runtime": "onnxruntime", "startup": START}],
}  # fmt: skip


def around(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def latency(ms: float, seed: str, scenario: str = "SingleStream", against: str | None = None) -> dict[str, Any]:
    """Latencies around `ms`, in five blocks, with a long tail."""
    chance = random.Random(seed)
    counts: dict[str, int] = {}
    for _ in range(2000):
        bucket = str(int(16 * (math.log2(ms * 1e6) + chance.expovariate(6))))
        counts[bucket] = counts.get(bucket, 0) + 1
    found: dict[str, Any] = {
        "scenario": scenario, "queries": 2000, "valid": True, "throughput_per_s": 1000 / ms, "throughput_low": 900 / ms,
        "settings": {"generator": "mlperf_loadgen 6", "blocks": 5}, "throughput_high": 1100 / ms,
        "block_p50_ms": [ms * chance.uniform(0.95, 1.05) for _ in range(5)],
        "histogram": {"unit": "ns", "buckets_per_octave": 16, "counts": counts},
    }  # fmt: skip
    for name, factor in (("p50", 1.1), ("p90", 1.4), ("p99", 2.0)):
        found |= {f"{name}_ms": ms * factor, f"{name}_low": ms * factor * 0.9, f"{name}_high": ms * factor * 1.2}
    if against:
        found["speedup"] = around(2.0, 0.2) | {"against": against, "pairs": 5, "valid": True}
    return found


def artifact(
    stage: str, form: str, precision: str, *, gzip_bytes: int, accuracy: float, ms: float, **changes: Any
) -> Artifact:
    name = f"{stage}.{form}.{precision}"
    against = None if stage == "train" and precision == "float32" else f"train.{form}.float32"
    runs = [
        {
            "threads": 1,
            "metrics": {"accuracy": around(accuracy, 0.006), "accuracy_drop": around(0.99 - accuracy, 0.004)},
            "parity": {
                "against": f"{stage}.keras", "samples": 1000, "top1_agreement": 0.995, "top1_agreement_low": 0.99,
                "top1_agreement_high": 0.999, "max_abs_error": 0.1, "mean_abs_error": 0.01,
            },
            "latency": [
                latency(ms * (1 + i), name, against=against), latency(ms * 8, name, "MultiStream", against=against)
            ],
        } | place
        for i, place in enumerate(PLACES[form])
    ]  # fmt: skip
    operators = {"integer": 3, "floating": 4, "floating_names": {"MEAN": 4}, "channels": 58, "first": "CONV_2D"}
    facts: dict[str, Any] = {
        "id": name, "stage": stage, "format": form, "precision": precision, "path": f"artifacts/{name}",
        "bytes": 2 * gzip_bytes, "gzip_bytes": gzip_bytes, "sparsity": 0.5, "operators": operators, "runs": runs,
        "optional": precision == "fake-quant",
    }  # fmt: skip
    return Artifact.model_validate(facts | changes)


def model(stage: str, accuracy: float | None, gzip_bytes: int, layers: int = 4, **changes: Any) -> Model:
    epochs = 12
    curves = {
        "loss": [2 * 0.7**i for i in range(epochs)], "val_loss": [2.1 * 0.72**i for i in range(epochs)],
        "accuracy": [1 - 0.6 * 0.7**i for i in range(epochs)],
        "val_accuracy": [1 - 0.7 * 0.7**i for i in range(epochs)],
    }  # fmt: skip
    histogram = {"low": -0.71, "high": 0.66, "counts": [1, 4, 9, 14, 22, 9, 0, 12, 18, 7, 2], "zeros": 346}
    described: list[dict[str, Any]] = [
        {"name": f"conv_{i}", "kind": "Conv2D", "parameters": 100 * i, "macs": 1000 * i, "sparsity": 0.6, "target": 0.6,
         "histogram": histogram}
        for i in range(1, layers + 1)
    ]  # fmt: skip
    described += [{"name": "relu", "kind": "ReLU", "parameters": 0, "macs": 0, "reason": "it has no kernel"}]
    facts: dict[str, Any] = {
        "stage": stage, "parameters": gzip_bytes // 4, "macs": gzip_bytes * 10, "sparsity": 0.3,
        "bytes": gzip_bytes * 2,
        "gzip_bytes": gzip_bytes, "layers": described, "training": curves,
        "metrics": {} if accuracy is None else {"accuracy": around(accuracy, 0.006), "f1": around(accuracy, 0.007)},
    }  # fmt: skip
    return Model.model_validate(facts | changes)


def tested(of: str, classes: list[str], *, pictures: bool) -> SplitAnswers:
    """Answers with a third of the classes confused with the next one."""
    count = len(classes)
    cells = [(i, i, 30) for i in range(count)] + [(i, (i + 1) % count, 1 + i % 4) for i in range(0, count, 3)]
    hardest = [
        Example(
            index=7 * i, label=i % count, answer=(i + (i < 9)) % count, probability=0.97 - 0.02 * i,
            probability_of_label=0.02 if i < 9 else 0.97 - 0.02 * i, picture="examples/pixel.png" if pictures else None,
        )
        for i in range(16)
    ]  # fmt: skip
    return SplitAnswers(
        samples=sum(cell[2] for cell in cells), classes=classes,
        answers=[Answers(of=of, cells=sorted(cells), hardest=hardest)],
    )  # fmt: skip


def report(**facts: Any) -> Report:
    stages = [Stage(name="import", status="skipped")]
    stages += [
        Stage(name=name, status="run", seconds=12.3, reason="nothing is stored for it yet", metrics={"val_loss": 0.01})
        for name in facts.pop("ran", ("train", "distill", "prune", "quantize", "export", "measure"))
    ]
    base: dict[str, Any] = {
        "schema": 1, "modelmill": "0.1.0", "recipe": "shape", "seed": 0, "stages": stages, "machine": MACHINE,
        "settings": SETTINGS, "folder": "runs/shape",
    }  # fmt: skip
    return Report.model_validate(base | facts)


LINE = (("train", 0.99, 250_000, 1.2), ("distill", 0.986, 18_000, 1.0), ("prune", 0.984, 10_000, 1.0))
FINAL = "quantize.tflite.int8"


def files() -> list[Artifact]:
    found = [
        artifact(stage, form, "float32", gzip_bytes=size, accuracy=accuracy, ms=ms / scale)
        for stage, accuracy, size, ms in LINE
        for form, scale in (("saved_model", 1), ("tflite", 20), ("onnx", 12))
    ]
    found += [
        artifact("quantize", "saved_model", "fake-quant", gzip_bytes=27_000, accuracy=0.983, ms=1.4),
        artifact("quantize", "tflite", "int8", gzip_bytes=5_300, accuracy=0.983, ms=0.03),
        artifact("quantize", "onnx", "int8", gzip_bytes=5_100, accuracy=0.979, ms=0.09),
    ]
    return found


def line() -> list[Model]:
    drop = {"accuracy_drop_against_previous": around(0.002, 0.004), "accuracy_gain_by_teaching": around(0.01, 0.004)}
    accuracies = {"accuracy": around(0.986, 0.006), "f1": around(0.985, 0.006)}
    return [
        model("train", 0.99, 250_000),
        model("distill", 0.986, 18_000, metrics=accuracies | drop),
        model("distill", 0.976, 18_000, variant="alone"),
        model("prune", 0.984, 10_000),
        model("quantize", 0.983, 5_000),
    ]


def whole(**changes: Any) -> Report:
    """All stages, all files, every limit held."""
    made, found = line(), files()
    reference = found[0]
    final = next(item for item in found if item.id == FINAL)
    limits = {
        "max_accuracy_drop": 0.02,
        "min_parity": 0.98,
        "max_p99_ms": 1.0,
        "min_size_ratio": 40.0,
        "min_speedup": 1,
    }
    facts: dict[str, Any] = {
        "verdict": "pass", "reference": reference.id, "final": FINAL, "to_serve": "prune.saved_model.float32",
        "models": made, "artifacts": found, "bought": bought(made, found),
        "gates": [gate(name, limit, final, reference) for name, limit in limits.items()],
        "serving": {"asked": "auto", "target": "embedded", "passed_over": {"docker": "there is no Docker engine"}},
        "image": shipped(), "tested": tested(FINAL, list("0123456789"), pictures=True),
    }  # fmt: skip
    return report(**facts | changes)


def shipped(**changes: Any) -> Shipped:
    """An image that passed."""
    firsts = [
        {"protocol": protocol, "tries_ms": [9.1, 2.2], "p50_ms": 1.1, "p99_ms": 1.9} for protocol in ("grpc", "rest")
    ]
    warm = {
        "name": "starts_warm", "artifact": "prune.saved_model.float32", "limit": 2.0, "value": 1.16, "low": 1.16,
        "high": 1.16, "passed": True, "upper": True, "unit": "x", "message": "first request over grpc 2.2 ms",
    }  # fmt: skip
    facts: dict[str, Any] = {
        "verdict": "pass", "artifact": warm["artifact"], "tag": "shop/digits:7", "wanted": "shop/digits:7",
        "id": f"sha256:{'1f' * 32}",
        "base": {"name": "tensorflow/serving:2.20.0", "id": "sha256:0", "bytes": 600_000_000},
        "bytes": 600_090_000, "added": 90_000, "first_requests": firsts, "gates": [warm],
        "command": "docker run --rm --init -p 127.0.0.1:8500:8500 -p 127.0.0.1:8501:8501 shop/digits:7",
    }  # fmt: skip
    return Shipped.model_validate(facts | changes)


def failed() -> Report:
    """Two limits missed, and a file that could not be made."""
    found = files()
    broken = found[-1].model_copy(update={"error": "the converter died: SIGSEGV\nexpected: a file", "runs": []})
    final = next(item for item in found if item.id == FINAL)
    limits = {"max_accuracy_drop": 0.001, "min_parity": 0.98, "min_size_ratio": 60.0}
    gates = [gate(name, limit, final, found[0]) for name, limit in limits.items()]
    gates.append(gate("max_p99_ms", 1.0, broken, found[0]))
    missed = shipped().gates[0].model_copy(update={"passed": False, "value": 8.0, "todo": "warm-up records"})
    image = shipped(verdict="fail", tag=None, gates=[missed])
    return whole(verdict="fail", artifacts=[*found[:-1], broken], gates=gates, image=image)


def error() -> Report:
    """A run that ended in its second stage."""
    message = (
        "distill failed: the loss is not finite\n  expected: numbers\n  found: NaN in epoch 3\n"
        f"  to do: a lower learning rate; the whole story is in {'very/long/path/' * 12}log.txt"
    )
    stages = [Stage(name="train", status="run", seconds=3), Stage(name="distill", status="failed", reason="asked for")]
    failure = {"stage": "distill", "message": message, "exit_code": 4}
    return report(verdict="error", failure=failure, stages=stages, models=[model("train", None, 250_000)])


def many_classes() -> Report:
    """A hundred classes with long names, and samples that are no images."""
    names = [f"a rather long name of a class that nobody would shorten, number {i}" for i in range(100)]
    return whole(tested=tested(FINAL, names, pictures=False), recipe="a-recipe-with-a-very-long-name" * 3)


def only_trained() -> Report:
    """`modelmill train`: one model, nothing exported, nothing measured."""
    return report(
        verdict="incomplete", ran=("train",), models=[model("train", None, 250_000)], training={}, final=FINAL,
        reference="train.saved_model.float32",
    )  # fmt: skip


def only_exported() -> Report:
    """`modelmill export`: every file is there, none was measured."""
    made = [item.model_copy(update={"metrics": {}}) for item in line()]
    found = [item.model_copy(update={"runs": []}) for item in files()]
    return whole(
        verdict="incomplete", artifacts=found, models=made, bought=bought(made, found), gates=[], tested=None,
        stages=[Stage(name=name, status="run", seconds=1) for name in ("train", "distill", "export")],
    )  # fmt: skip


def one_step() -> Report:
    """`modelmill prune --model x.keras`: two models in Keras, measured, nothing exported."""
    made = [model("import", 0.99, 250_000, training={}), model("prune", 0.987, 120_000)]
    drop = {"accuracy_drop": around(0.003, 0.004), "accuracy_drop_against_previous": around(0.003, 0.004)}
    made[1] = made[1].model_copy(update={"metrics": made[1].metrics | model("x", None, 4, metrics=drop).metrics})
    return report(
        verdict="incomplete", ran=("prune", "measure"), models=made, bought=bought(made, []), settings={"measure": {}},
        tested=tested("prune.keras", ["cat", "dog", "a horse"], pictures=True),
    )  # fmt: skip


def removed(count: int = 5, *, layers: int = 3) -> list[dict[str, Any]]:
    """Groups of channels of a model that gets wider, every seventh (and the last) with a reason to be left alone."""
    found: list[dict[str, Any]] = []
    for i in range(count):
        name, before = f"block_{i}_project" if count > 20 else f"conv_{i + 1}", 16 * (1 + 24 * i // count)
        last = i == count - 1
        reason = "they are the model's outputs" if last else "an own layer, Mixer, reads them" if i % 7 == 3 else ""
        after = before if reason else max(8, before * (3 + i % 5) // 80 * 8)
        others = [f"{name}_{kind}" for kind in ("bn", "relu", "add", "depthwise", "depthwise_bn", "expand")[:layers]]
        found.append({"name": name, "layers": [name, *others], "before": before, "after": after, "reason": reason})
    return found


def shrunk(channels: list[dict[str, Any]] | None = None) -> Report:
    """Whole channels out between the student and its zeros; served over REST nothing got faster."""
    lost = {"accuracy_drop_against_previous": around(0.006, 0.004)}
    little = {"accuracy_drop_against_previous": around(0.001, 0.003)}
    made = [
        model("train", 0.99, 250_000),
        model("distill", 0.986, 60_000),
        model("shrink", 0.98, 28_000, channels=channels or removed(), macs=282_000),
        model("prune", 0.979, 13_000, macs=282_000, parameters=7_000),
    ]
    made[2] = made[2].model_copy(update={"metrics": made[2].metrics | model("x", None, 4, metrics=lost).metrics})
    made[3] = made[3].model_copy(update={"metrics": made[3].metrics | model("x", None, 4, metrics=little).metrics})
    line = (("train", 250_000, 1.2, 1.0), ("distill", 60_000, 1.0, 0.8), ("shrink", 28_000, 0.8, 0.4))
    found = [
        artifact(stage, form, "float32", gzip_bytes=size, accuracy=0.98, ms=served if scale == 1 else ms / scale,
                 sparsity=0.6 if stage == "prune" else 0.0)
        for stage, size, served, ms in (*line, ("prune", 13_000, 0.8, 0.4))
        for form, scale in (("saved_model", 1), ("tflite", 20), ("onnx", 12))
    ]  # fmt: skip
    return whole(
        models=made, artifacts=found, bought=bought(made, found), final="prune.tflite.float32",
        stages=[
            Stage(name="shrink", status="run", seconds=12.3, metrics={
                "macs": 282_000, "macs_before": 600_000, "parameters": 7_000, "parameters_before": 15_000, "groups": 5,
                "left_groups": 2, "val_accuracy": 0.98,
            })
        ],
        tested=tested("prune.tflite.float32", list("0123456789"), pictures=True),
    )  # fmt: skip


def shrunk_deep() -> Report:
    """As many groups as an EfficientNet has."""
    return shrunk(removed(97, layers=6))


SHAPES: dict[str, Callable[[], Report]] = {
    "whole": whole, "failed": failed, "error": error, "many classes": many_classes, "only trained": only_trained,
    "only exported": only_exported, "one step": one_step,
    "shrunk": shrunk, "shrunk deep": shrunk_deep,
}  # fmt: skip


def folder(path: Path) -> Path:
    """Make a run's folder with the picture that the reports name."""
    (path / "examples").mkdir(parents=True)
    (path / "examples" / "pixel.png").write_bytes(PIXEL)
    return path
