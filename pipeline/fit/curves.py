"""Training curves as TensorBoard logs: training and validation as two runs, so that each metric's curves share a chart.

Written with tf.summary once an epoch, since Keras' own callback hooks into every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.legacy_keras import load as load_keras


class Curves:
    """Event files in `folder`/train and `folder`/validation; a call that goes on adds files of its own."""

    def __init__(self, folder: Path) -> None:
        load_keras()
        import tensorflow as tf

        self._writers = {part: tf.summary.create_file_writer(str(folder / part)) for part in ("train", "validation")}

    def write(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add the values after `epoch`; names that begin with `val_` go to the validation run."""
        import tensorflow as tf

        for name, value in metrics.items():
            part = "validation" if name.startswith("val_") else "train"
            with self._writers[part].as_default(step=epoch):
                tf.summary.scalar(f"epoch_{name.removeprefix('val_')}", value)
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
