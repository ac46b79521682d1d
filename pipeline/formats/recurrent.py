"""Recurrent layers on their way to a .tflite: how their loop over time is written is decided before the converter runs.

What TensorFlow 2.21's converter does with the loop of a Keras SimpleRNN, LSTM or GRU, of each precision:

* with a free batch dimension it refuses all of them;
* with a batch of one it fuses a plain LSTM into one operator, and writes a WHILE for all others;
* quantizing the activations of a WHILE after training, to int8 or int16, it kills the process; the fused
  int8 LSTM rounds its state in each step, so that its error grows with the sequence (64 steps: 0.24, unrolled 0.006)
  and takes 8 times as long as the unrolled one; a fused one with int16 activations it does not know;
* quantizing weights alone does nothing to a fused LSTM, which ai-edge-quantizer does not know; those in the body of a
  WHILE it quantizes. Such files answer as float ones do, masks and all;
* unrolled, a copy of the cell for each step, it converts every cell in every precision with a free batch dimension,
  and what comes out is as fast or faster, a WHILE by up to 9 times. But each step adds 1 to 6 kB to the file and 0.1 s
  to the conversion, and as int8 the biases and some of the kernels are there several times.

* quantized after training with a mask, it becomes a file that LiteRT does not load (XNNPACK fails to prepare).

So sequences up to a length are unrolled, and longer ones become a file for one sample at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.formats import ConversionError
from pipeline.legacy_keras import load as load_keras

Way = Literal["as it is", "unrolled", "single"]


@dataclass(frozen=True)
class Loop:
    """A recurrent layer whose steps over time are a loop in the graph.

    Attributes:
        layer: the recurrent layer itself, which may be inside another (Bidirectional).
        name: of the layer that the model has.
        steps: how many; None where the model does not fix that.
        masked: whether it is told to leave steps out.
        fused: whether the converter knows it as one operator.
    """

    layer: Any
    name: str
    steps: int | None
    masked: bool
    fused: bool


def loops(model: Any) -> list[Loop]:
    """Return the loops of a Keras model, those of models within it included, once for each place where they run."""
    found: list[Loop] = []
    for nodes in getattr(model, "_nodes_by_depth", {}).values():
        for node in nodes:
            if hasattr(node.layer, "_nodes_by_depth"):
                found += loops(node.layer)
            else:
                found += _of(node)
    return found


# they hand on to the layer inside what they are given
_TRANSPARENT = ("Bidirectional", "QuantizeWrapper", "QuantizeWrapperV2")


def _of(node: Any) -> Iterator[Loop]:
    keras = load_keras()
    direct = isinstance(node.layer, keras.layers.RNN) or type(node.layer).__name__ in _TRANSPARENT
    shape = node.input_shapes[0] if isinstance(node.input_shapes, list) else node.input_shapes
    masked = any(getattr(end, "_keras_mask", None) is not None for end in node.keras_inputs)
    for layer in node.layer._flatten_layers():
        # Keras cannot unroll convolutional ones
        if not isinstance(layer, keras.layers.RNN) or layer.unroll or type(layer).__name__.startswith("ConvLSTM"):
            continue
        # Keras' own condition for cuDNN: under it, the layer writes what the converter looks for
        fused = type(layer) is keras.layers.LSTM and layer._could_use_gpu_kernel and not masked
        steps = shape[0 if layer.time_major else 1] if direct else None
        yield Loop(layer, node.layer.name, steps, masked, fused)


def way(model: Any, unrolled_steps: int, precision: str, *, post_training: bool) -> Way:
    """Return how a model's loops are written for a .tflite of that precision.

    Args:
        model: a Keras model.
        unrolled_steps: most time steps that are written out, of all recurrent layers and directions together.
        precision: as `tflite.write` takes it.
        post_training: its activations are quantized after training.

    Raises:
        ConversionError: its loops are too long to be unrolled, and nothing else would do; or its masks cannot be int8.
    """
    found = loops(model)
    if not found:
        return "as it is"
    masked = sorted({loop.name for loop in found if loop.masked})
    if post_training and masked:
        raise ConversionError(
            f"the model cannot be converted to tflite {precision}: {', '.join(masked)} leaves masked steps out, and "
            "that cannot be run in integers",
            todo=f"remove {precision} from the recipe's export section, or train the model without a mask",
        )
    total = sum(loop.steps or 0 for loop in found)
    fixed = all(loop.steps is not None for loop in found)
    if fixed and total <= unrolled_steps:
        return "unrolled"
    # of a fused one there is no kernel for int16 activations
    left = sorted({loop.name for loop in found if not loop.fused or precision == "int16x8"})
    if post_training and left:
        raise ConversionError(
            f"the model cannot be converted to tflite {precision}: TensorFlow's converter cannot quantize the loop "
            f"over time of {', '.join(left)}, which is too long to be written out step by step",
            expected=f"at most {unrolled_steps} time steps, of all recurrent layers and directions together",
            found=f"{total}" if fixed else "a number of steps that the model does not fix",
            todo=(f"set export.unrolled_steps to {total}, or " if fixed else "")
            + f"remove {precision} from the recipe's export section"
            + (", or use LSTM layers" if precision == "int8" else ""),
        )
    return "single"


def one_at_a_time(source: str) -> ConversionError:
    """Return the error of an int8 ONNX file from a .tflite whose loops over time take one sample at a time."""
    return ConversionError(
        f"the model cannot be converted to onnx int8: {source}, which it is made from, is for one sample"
        " at a time, with loops over time that tf2onnx cannot read",
        todo="remove int8 from export.onnx, or shorten the sequences",
    )


@contextmanager
def written(model: Any, way: Way, *, fused: bool) -> Iterator[None]:
    """Let the loops of a model be traced in that way inside the block; its weights and layers stay what they are.

    A copy with unroll=True would need every class in the model to be made again from its config, a user's too.

    Args:
        model: a Keras model.
        way: what `way` decided.
        fused: whether an LSTM that is not unrolled may become one operator. The converter breaks it where other layers
            bring their ranges along from quantization-aware training.
    """
    with ExitStack() as stack:
        for layer in {id(loop.layer): loop.layer for loop in loops(model)}.values():
            if way == "unrolled":
                stack.enter_context(_set(layer, "unroll", True))
            if hasattr(layer, "_could_use_gpu_kernel") and (way == "unrolled" or not fused):
                stack.enter_context(_set(layer, "_could_use_gpu_kernel", False))
        yield


@contextmanager
def _set(layer: Any, name: str, value: object) -> Iterator[None]:
    before = getattr(layer, name)
    setattr(layer, name, value)
    try:
        yield
    finally:
        setattr(layer, name, before)
