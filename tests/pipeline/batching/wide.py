"""A model whose batch of 32 costs much less than 32 single requests: its weights are read once for all of them."""

from __future__ import annotations

from pathlib import Path

WIDTH = 1536
LAYERS = 3


def write(folder: Path, width: int = WIDTH) -> None:
    """Write the model as `folder/1/`; run in a child process, for TensorFlow's sake."""
    import tensorflow as tf

    class Wide(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            generator = tf.random.Generator.from_seed(0)
            self.kernels = [tf.Variable(generator.normal([width, width], stddev=0.02)) for _ in range(LAYERS)]

        @tf.function(input_signature=[tf.TensorSpec([None, width], tf.float32, "features")])
        def serve(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
            for kernel in self.kernels:
                features = tf.nn.relu(features @ kernel)
            return {"value": features[:, :1]}

    module = Wide()
    tf.saved_model.save(module, str(folder / "1"), signatures={"serving_default": module.serve})
