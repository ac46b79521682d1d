"""The exported formats, one module each: `write` a Keras model, `load` it as a Predictor, read its `kernels`.

All take raw float32 samples under the data source's name and answer `logits` and `probabilities`, with any batch size.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ModelmillError, RunError
from pipeline.predictor import LOGITS, PROBABILITIES, Spec


class ConversionError(RunError):
    """A converter refused the model; it would refuse it again."""


class FormatError(RunError):
    """A file of one of the formats does not have the inputs and outputs that the spec promises."""


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


def require_ends(
    path: Path, spec: Spec, *, inputs: dict[str, tuple[int | None, ...]], outputs: Collection[str]
) -> None:
    """Raise FormatError unless a file has the spec's input, with its sample shape, and both outputs.

    Args:
        path: the file, for the message.
        spec: what the model promises.
        inputs: name to shape, with the batch dimension.
        outputs: the names.
    """
    expected = f"input {spec.input_name} {list(spec.input_shape)} per sample, outputs {LOGITS} and {PROBABILITIES}"
    samples = {name: shape[1:] for name, shape in inputs.items()}
    if samples != {spec.input_name: spec.input_shape} or not {LOGITS, PROBABILITIES} <= set(outputs):
        inputs_text = ", ".join(f"{name} {list(shape)}" for name, shape in samples.items())
        raise FormatError(
            f"{path.name} is not a model for this data",
            expected=expected,
            found=f"input {inputs_text or 'none'} per sample, outputs {' and '.join(sorted(outputs)) or 'none'}",
            todo="export it again from the model that was trained on this data",
        )
