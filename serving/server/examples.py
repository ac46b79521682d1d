"""Classification and regression over tf.train.Examples: what both protocols share (rules 3.8 and 3.9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.server.inference import Inference
from serving.server.servable import DEFAULT_SIGNATURE, Servable, Signature
from serving.server.status import StatusError, invalid
from serving.server.tensors import DTYPE_NAMES

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
# the aliases that the two methods prescribe
INPUTS, CLASSES, SCORES, OUTPUTS = "inputs", "classes", "scores", "outputs"
_APIS = {CLASSIFY: "Classify", REGRESS: "Regress"}
_KINDS = {CLASSIFY: "classification", REGRESS: "regression"}
_OUTPUTS = {CLASSIFY: (CLASSES, SCORES), REGRESS: (OUTPUTS,)}


def serialized(source: Any) -> list[bytes]:
    """Return the examples of an Input, serialized; each starts with the context, if there is one."""
    if source.WhichOneof("kind") != "example_list_with_context":
        return [example.SerializeToString() for example in source.example_list.examples]
    listed = source.example_list_with_context
    context = listed.context.SerializeToString()  # one message after another reads as both, merged
    return [context + example.SerializeToString() for example in listed.examples]


def vector(examples: Sequence[bytes]) -> np.ndarray:
    """Return serialized examples as a model is fed with them: strings [n].

    Raises:
        StatusError: there are none.
    """
    if not examples:
        raise invalid("Input is empty.")
    found = np.empty(len(examples), object)
    found[:] = examples
    return found


def run(
    inference: Inference,
    servable: Servable,
    signature_name: str,
    method: str,
    examples: Sequence[bytes],
    timeout_ms: int | None,
) -> dict[str, np.ndarray]:
    """Return alias -> output of a classification or a regression.

    Args:
        method: CLASSIFY or REGRESS.
        examples: serialized.
        timeout_ms: as in `session.Session.run`.

    Raises:
        StatusError: the signature is none for the method, there are no examples, or the run fails.
    """
    name = signature_name or DEFAULT_SIGNATURE
    signature = servable.signature(name)
    if signature is None:
        raise invalid(f"No signature was found with the name: {name}")
    outputs = fetched(signature, method, check_method_name=inference.check_method_names)
    arrays = inference.run(servable, signature, {INPUTS: vector(examples)}, outputs, timeout_ms, _APIS[method])
    return dict(zip(outputs, arrays, strict=True))


def fetched(signature: Signature, method: str, *, check_method_name: bool) -> tuple[str, ...]:
    """Return the outputs that a method fetches from a signature; it is fed with INPUTS.

    Args:
        method: CLASSIFY or REGRESS.
        check_method_name: the signature has to name the method.

    Raises:
        StatusError: the signature is none for it.
    """
    kind = _KINDS[method]
    if check_method_name and signature.method_name != method:
        raise invalid(f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}")
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if method == REGRESS and len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if INPUTS not in signature.inputs:
        raise invalid(f"No {kind} inputs found in SignatureDef: {signature.definition}")
    found = tuple(alias for alias in _OUTPUTS[method] if alias in signature.outputs)
    if found:
        return found
    if method == REGRESS:
        raise invalid(f"No regression outputs found in SignatureDef: {signature.definition}")
    raise invalid(
        f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}". '
        f"Signature was: {signature.definition}"
    )


def classified(outputs: Mapping[str, np.ndarray], count: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the classes and the scores, both [count, n] if they are there.

    Args:
        outputs: alias -> what was fetched.
        count: of the examples.

    Raises:
        StatusError: an output is of another shape or dtype.
    """
    classes, scores = outputs.get(CLASSES), outputs.get(SCORES)
    for alias, array, dtype in ((CLASSES, classes, np.dtype(object)), (SCORES, scores, np.dtype(np.float32))):
        if array is None:
            continue
        if array.ndim != 2:
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
        if array.dtype != dtype:
            raise _dtype_error(f"Expected {alias} Tensor of {_name(dtype)}. Got: ", array)
        if len(array) != count:
            raise invalid(f"Expected {alias} output batch size of {count}. Got: {len(array)}")
    if classes is not None and scores is not None and classes.shape != scores.shape:
        raise invalid(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    return classes, scores


def regressed(outputs: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """Return the values, float32 [count]; see `classified`.

    Raises:
        StatusError: the output is of another shape or dtype.
    """
    array = outputs[OUTPUTS]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(array)}"
        )
    if len(array) != count:
        raise invalid(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if array.dtype != np.float32:
        raise _dtype_error("Expected output Tensor of DT_FLOAT.  Got: ", array)
    return array.reshape(count)


def _dtype_error(text: str, array: np.ndarray) -> StatusError:
    return invalid(text + _name(array.dtype))


def _name(dtype: np.dtype[Any]) -> str:
    return f"DT_{DTYPE_NAMES.get(dtype, dtype.name).upper()}"


def _shape(array: np.ndarray) -> str:
    return f"[{','.join(map(str, array.shape))}]"
