"""What each way of learning from a teacher is worth: `python -m tests.benchmarks.distillation [--seeds N]`.

Of scikit-learn's digits few are for training, so that a teacher that saw all of the training split knows more than they
show. For each seed a teacher is trained on all, and the same small student on the few: by their labels alone, and with
each kind of the teacher's loss beside the labels. All students of a seed start alike and have the same samples, order
and number of steps. The test split is the same for all. Prints a table in Markdown: the mean accuracy, and the mean
difference to the student alone with its 95 % interval (Student's t over the seeds).
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import models
from pipeline import data
from pipeline.compress.distillation import Teaching
from pipeline.data import DataConfig, Split, Splits
from pipeline.fit.config import FitConfig
from pipeline.fit.loop import fit
from pipeline.fit.teach import TeachConfig
from pipeline.students_t import quantile

SAMPLES = 200  # of the training split, for the students
EPOCHS, BATCH = 80, 32
TEACHER = models.cnn.Config(filters=(24, 48), convolutions=2, head="average")
STUDENT = models.cnn.Config(filters=(8, 12), convolutions=1, head="average")
# so that each loss is seen by itself
NO_LOGITS = {"soft_weight": 0}
WAYS: dict[str, dict[str, Any] | None] = {
    "labels alone": None,
    "logits": {"temperature": 4, "soft_weight": 0.9},
    "hints (fitnet)": {**NO_LOGITS, "features": {"method": "fitnet"}},
    "attention": {**NO_LOGITS, "features": {"method": "attention"}},
    "relations (RKD)": {**NO_LOGITS, "relations": {}},
}


def accuracies(seed: int) -> dict[str, float]:
    """Return the teacher's accuracy on the test split, and the students' by how they learned."""
    whole = data.load(DataConfig())
    chosen = np.random.default_rng(seed).permutation(len(whole.train))[:SAMPLES]
    few = replace(whole, train=Split(np.asarray(whole.train.x)[chosen], np.asarray(whole.train.y)[chosen]))
    with tempfile.TemporaryDirectory() as folder:
        teacher = _fitted(models.build(TEACHER, whole.spec, seed), whole, Path(folder, "teacher"), seed, 15, None)
        found = {"the teacher, on all": _accuracy(teacher, whole.test)}
        for place, (name, given) in enumerate(WAYS.items()):
            teach, teaching = TeachConfig.model_validate(given) if given else None, None
            if teach:
                teaching = Teaching([teacher], teach.temperature, teach.soft_weight, teach.features, teach.relations)
            student = models.build(STUDENT, whole.spec, seed)
            _fitted(student, few, Path(folder, str(place)), seed, EPOCHS, teaching)
            found[name] = _accuracy(student, whole.test)
    return found


def _fitted(model: Any, splits: Splits, work: Path, seed: int, epochs: int, teaching: Teaching | None) -> Any:
    config = FitConfig.model_validate(
        {"epochs": epochs, "batch_size": BATCH, "optimizer": {"name": "adam", "learning_rate": 0.01},
         "schedule": {"name": "cosine"}, "tensorboard": False}
    )  # fmt: skip
    fit(
        model, splits, config, data=DataConfig(), seed=seed, stage="distill", work=work, emit=lambda _: None,
        teaching=teaching,
    )  # fmt: skip
    return model


def _accuracy(model: Any, split: Split) -> float:
    return float(np.mean(model.predict(split.x, verbose=0).argmax(axis=-1) == split.y))


def main() -> None:
    """Run the seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0 on, two or more (default: 5)")
    seeds = range(parser.parse_args().seeds)
    found = []
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        for seed, one in zip(seeds, processes.map(accuracies, seeds), strict=True):
            found.append(one)
            print(
                f"<!-- seed {seed}: {', '.join(f'{name} {share:.4f}' for name, share in one.items())} -->", flush=True
            )
    print("| learned from | accuracy | against alone, points | 95 % |\n| --- | --- | --- | --- |")
    for name in found[0]:
        mean = statistics.mean(one[name] for one in found)
        if name not in WAYS or WAYS[name] is None:
            print(f"| {name} | {mean:.2%} | | |")
            continue
        gains = [100 * (one[name] - one["labels alone"]) for one in found]
        gain, half = statistics.mean(gains), quantile(len(gains) - 1) * statistics.stdev(gains) / math.sqrt(len(gains))
        print(f"| {name} | {mean:.2%} | {gain:+.2f} | {gain - half:+.2f} to {gain + half:+.2f} |")


if __name__ == "__main__":
    main()
