"""Trains an epoch on a folder of arrays in this process, and prints how much memory that took beyond TensorFlow's own.

python -m tests.pipeline.data.larger FOLDER MEMORY_MB WORK
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import numpy as np

SIDE = 64
CLASSES = 8
_PIECE = 2000


def write(folder: Path, megabytes: int) -> None:
    """Write images of noise, uint8 [n, 64, 64, 3], each class with a brighter column, piece by piece."""
    count = megabytes * 2**20 // (SIDE * SIDE * 3)
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, count)
    noise = random.integers(0, 156, (_PIECE, SIDE, SIDE, 3), np.uint8)
    images = np.lib.format.open_memmap(folder / "x_train.npy", "w+", np.uint8, (count, SIDE, SIDE, 3))
    for start in range(0, count, _PIECE):
        piece = noise[: count - start].copy()
        column = labels[start : start + _PIECE] * SIDE // CLASSES
        for image, here in zip(piece, column, strict=True):
            image[:, here : here + SIDE // CLASSES] += 100
        images[start : start + _PIECE] = np.roll(piece, start // _PIECE, axis=1)
    images.flush()
    np.save(folder / "y_train.npy", labels)


def _anonymous_mb() -> float:
    """Return the memory of this process that no file stands behind: what cannot be given back at any time."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def main(folder: str, memory_mb: str, work: str) -> None:
    import tensorflow as tf

    import models
    from models import cnn
    from pipeline import data
    from pipeline.fit.config import FitConfig
    from pipeline.fit.loop import fit

    tf.constant(1.0)  # what TensorFlow takes for itself
    before, most, done = _anonymous_mb(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], _anonymous_mb())

    watching = threading.Thread(target=watch)
    watching.start()
    config = data.DataConfig(source="npy", path=folder, memory_mb=int(memory_mb))
    splits = data.load(config, look=True)
    model = models.build(cnn.Config(filters=(4,), convolutions=1, head="average"), splits.spec, seed=0)
    training = FitConfig(epochs=1, batch_size=256, tensorboard=False)
    history = fit(model, splits, training, data=config, seed=0, stage="train", work=Path(work), emit=lambda _: None)
    done.set()
    watching.join()
    print(
        json.dumps(
            {
                "memory_mb": most[0] - before,
                "samples": len(splits.train),
                "on_disk": type(splits.train.x).__name__ == "Rows",
                "loss": history.epochs["loss"][0],
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
