"""What the recipe mnist-tiny makes, on few images and for few epochs: a stripped file of an int8 CNN with strides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.command import BRIEFLY, modelmill, options, report

STAGES = ("train", "distill", "prune", "cluster", "quantize")


@pytest.mark.long
def test_mnist_tiny_makes_a_stripped_int8_file_of_few_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 10
    # a bright row for each class, so that little training is enough
    images = rng.integers(0, 64, (600, 28, 28)).astype(np.uint8)
    images[np.arange(600), 2 * labels + 4] = 255
    y = labels.astype(np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images[:400], y_train=y[:400], x_test=images[400:], y_test=y[400:])
    less = [f"{stage}.{key}" for stage in STAGES for key in ("epochs=2", "batch_size=16")]
    lossy = [f"{stage}.max_accuracy_loss=1" for stage in STAGES[1:]]
    asked = options([*less, *lossy, *BRIEFLY, "judge.gates={min_size_ratio: 20}"])
    done = modelmill("run", "mnist-tiny", *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    made = {one["id"]: one for one in report(tmp_path, "mnist-tiny")["artifacts"]}
    final = made["quantize.tflite.int8"]
    assert final["gzip_bytes"] < 3500
    assert (final["operators"]["floating"], final["parameters"]) == (0, 6258)
    assert final["runs"][0]["metrics"]["accuracy"]["value"] > 0.5
