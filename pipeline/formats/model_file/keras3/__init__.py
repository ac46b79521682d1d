"""A model of Keras 3 becomes one of tf_keras, layer by layer, with the file's weights.

tables       where the two Keras differ: layers, options, activations; what has no counterpart, and why
operations   what `x + y` and keras.ops.* are in tf_keras
check        a configuration held to these lists, before anything loads it
translate    the configuration as a tf_keras model
weights      the file's arrays and the weights that they belong to
reference    what Keras 3 itself answers, in a process of its own
agreement    the translated model against these answers
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.formats.model_file.scan import Scanned


def translated(scanned: Scanned) -> Any:
    """Return the tf_keras model of a Keras 3 file that was looked through, with the file's weights.

    Raises:
        InputError: its weights are not those of its layers.
        Exception: whatever tf_keras says of an option or a shape.
    """
    from pipeline.formats.model_file.keras3 import translate, weights

    model = translate.model(weights.configuration(scanned))
    weights.assign(scanned, model)
    return model
