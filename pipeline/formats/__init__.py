"""The exported formats, one module each: `write` a Keras model, `load` it as a Predictor, read its `kernels`.

All take raw samples under the data source's names and answer what the spec's heads say (`Spec.outputs`), with any batch
size; only a .tflite for long sequences takes one sample at a time (`recurrent`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import ModelmillError, RunError

# time steps of all recurrent layers together, each direction counted, that a .tflite has written out (`recurrent`)
UNROLLED_STEPS = 64
# versions of ONNX's operators that tf2onnx writes and that can say all that an .onnx of ours needs: kernels that are
# quantized per channel came with the first
OLDEST_OPSET, OPSET = 13, 18


class ConversionError(RunError):
    """A converter refused the model; it would refuse it again."""


@contextmanager
def converting(target: str) -> Iterator[None]:
    """Turn what a converter raises inside the block into a ConversionError that names `target` ("tflite int8").

    Errors of ours, of the operating system and of memory pass: they say nothing about the model.
    """
    try:
        yield
    except (ModelmillError, OSError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's out of memory
            raise
        raise ConversionError(
            f"the model cannot be converted to {target}: {meaningful_line(error)}",
            todo=f"remove {target} from the recipe's export section, or replace the layer that holds the operator",
        ) from error


def meaningful_line(error: BaseException) -> str:
    """Return the line of a converter's message that says what is wrong, without the source positions in front of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # MLIR writes "FILE:LINE:COLUMN: error: loc(...): TEXT", one line per offender, among notes about callers.
    first = next((line for line in lines if re.search(r"\berror: |^loc\(", line)), lines[0])
    return re.sub(r"^(?:.*?\berror: )?(?:loc\(.*\): )?", "", first)
