"""The JSON of a :predict request to the inputs of a signature (rule 4.6)."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.server.rest.json import shown
from serving.server.rest.values import HIGHEST_RANK, is_base64, regular, to_array, too_deep
from serving.server.servable import Signature
from serving.server.status import StatusError, invalid

_INSTANCES, _INPUTS, _SIGNATURE = "instances", "inputs", "signature_name"


def signature_name(document: dict[str, Any]) -> str:
    """Return the signature's name, empty where it is not given.

    Raises:
        StatusError: it is no string.
    """
    name = document.get(_SIGNATURE, "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {shown(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def inputs(document: dict[str, Any], signature: Signature) -> tuple[bool, dict[str, np.ndarray]]:
    """Return whether the request is in row form, and alias -> array.

    Raises:
        StatusError: it is in neither form, or does not fit the signature.
    """
    if not signature.inputs:
        raise invalid(f"Failed to get input map for signature: {document.get(_SIGNATURE) or 'DEFAULT'}")
    if _INSTANCES in document:
        if _INPUTS in document:
            raise _misformed(
                document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
            )
        return True, _from_rows(document, signature)
    if _INPUTS in document:
        return False, _from_columns(document[_INPUTS], signature)
    raise invalid("Missing 'inputs' or 'instances' key")


def _misformed(document: dict[str, Any], text: str) -> StatusError:
    return invalid(f"JSON Value: {shown(document)} {text}")


def _from_columns(value: Any, signature: Signature) -> dict[str, np.ndarray]:
    if not isinstance(value, dict) or is_base64(value):
        if len(signature.inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        return {alias: to_array(value, end.dtype) for alias, end in signature.inputs.items()}
    found = {}
    for alias, end in signature.inputs.items():
        if alias not in value:
            raise invalid(f"Missing named input: {alias} in 'inputs' object.")
        found[alias] = to_array(value[alias], end.dtype)
    return found


def _from_rows(document: dict[str, Any], signature: Signature) -> dict[str, np.ndarray]:
    rows = document[_INSTANCES]
    if not isinstance(rows, list):
        raise _misformed(document, "Expecting 'instances' to be an list/array")
    if not rows:
        raise _misformed(document, "No values in 'instances' array")
    if not isinstance(rows[0], dict) and len(signature.inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    found: dict[str, np.ndarray | None]
    if not _is_object(rows[0]):
        found = {alias: regular(rows, end.dtype) for alias, end in signature.inputs.items()}
    elif all(isinstance(row, dict) and row.keys() == signature.inputs.keys() for row in rows):
        found = {alias: regular([row[alias] for row in rows], end.dtype) for alias, end in signature.inputs.items()}
    else:
        found = {"": None}
    arrays = {alias: array for alias, array in found.items() if array is not None}
    return arrays if len(arrays) == len(found) else _row_by_row(rows, signature)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _row_by_row(rows: list[Any], signature: Signature) -> dict[str, np.ndarray]:
    """Return alias -> array [rows, ...]; every row has the shape of the first."""
    found: dict[str, list[np.ndarray]] = {alias: [] for alias in signature.inputs}
    objects = _is_object(rows[0])
    alone = next(iter(signature.inputs))
    for number, row in enumerate(rows):
        if objects != _is_object(row):
            kinds = "object but got list" if objects else "value/list but got object"
            raise invalid(f"Expecting {kinds} at item {number} of input list")
        for alias, value in row.items() if objects else [(alone, row)]:
            try:
                _add(found, alias, value, signature)
            except StatusError as error:
                key = f" key: {alias}" if objects else ""
                raise invalid(f"Failed to process element: {number}{key} of 'instances' list. Error: {error}") from None
        if objects and row.keys() != signature.inputs.keys():
            raise invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: {shown(row)} keys must be "
                f"equal to: {','.join(signature.inputs)}"
            )
    return {alias: np.stack(arrays) for alias, arrays in found.items()}


def _add(found: dict[str, list[np.ndarray]], alias: str, value: Any, signature: Signature) -> None:
    if alias not in signature.inputs:
        raise invalid(f"JSON object: does not have named input: {alias}")
    array = to_array(value, signature.inputs[alias].dtype)
    if array.ndim == HIGHEST_RANK:  # the rows are one more
        raise too_deep()
    for first in found[alias][:1]:
        if first.size != array.size:
            raise invalid(f"Expecting tensor size: {first.size} but got: {array.size}")
        if first.shape != array.shape:
            raise invalid(f"Expecting shape {_shape(first)} but got: {_shape(array)}")
    found[alias].append(array)


def _shape(array: np.ndarray) -> str:
    return f"[{','.join(map(str, array.shape))}]"
