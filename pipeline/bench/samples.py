"""What goes into a model: a data set's test split, arrays of a file, or random values of the signature's shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import InputError
from pipeline.predictor import Samples, count, rows
from pipeline.signature import STRING, UNKNOWN, End, Signature

MOST = 256  # samples that are asked for in turn
_RANDOM = 64
_BYTES = 2**26  # of random values, at most
RANDOM_SAID = (
    "random values: floats in [0, 1), 8-bit integers over their whole range, other integers 0 or 1"  # token ids that
    # every vocabulary has
)


@dataclass(frozen=True)
class Given:
    """Samples, n >= 1, and what is said of them."""

    samples: Samples
    said: str


def shape_of(end: End, signature: Signature, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape of one sample of an input; of a model without a batch dimension, of the whole input.

    Args:
        shapes: input -> whole shape, for what the signature leaves open.

    Raises:
        InputError: a dimension is unknown, or `shapes` says something else than the signature.
    """
    said, wanted = shapes.get(end.name), end.shape
    if said is not None:
        fits = wanted is None or (
            len(said) == len(wanted) and all(size in (None, ours) for size, ours in zip(wanted, said, strict=True))
        )
        if not fits:
            raise InputError(
                f"--shape {end.name}={','.join(map(str, said))} is not what the model takes", expected=str(end),
                found=",".join(map(str, said)), todo="give the whole shape, the batch dimension first",
            )  # fmt: skip
        wanted = said
    inner = None if wanted is None else wanted[1:] if batched(signature) else wanted
    if inner is None or None in inner:
        raise InputError(
            f"the shape of the input {end.name} is not known", expected="sizes for all dimensions but the batch",
            found=str(end), todo=f"--shape {end.name}=1,..., or --data",
        )  # fmt: skip
    return tuple(size for size in inner if size is not None)


def batched(signature: Signature) -> bool:
    """Return whether a query may be of several samples, asked at once or one after the other."""
    return signature.batch in (None, 1)


def random(signature: Signature, shapes: Mapping[str, tuple[int, ...]], seed: int) -> Given:
    """Return random values, the same for the same signature and seed.

    Raises:
        InputError: an input takes strings, or has an unknown dimension.
    """
    made: dict[str, np.ndarray] = {}
    sizes = {end.name: shape_of(end, signature, shapes) for end in signature.takes if _numeric(end)}
    bytes_each = sum(math.prod(sizes[end.name]) * np.dtype(end.dtype).itemsize for end in signature.takes)
    number = max(1, min(_RANDOM, _BYTES // max(bytes_each, 1)))
    for place, end in enumerate(signature.takes):
        draw = np.random.default_rng([seed, place])
        made[end.name] = _drawn(draw, np.dtype(end.dtype), (number, *sizes[end.name]))
    return Given(_alone(made), f"{RANDOM_SAID} ({number} samples, seed {seed})")


def _numeric(end: End) -> bool:
    if end.dtype in (STRING, UNKNOWN):
        kind = "strings" if end.dtype == STRING else "no tensor"
        raise InputError(
            f"the input {end.name} takes {kind}, which no random values stand for", expected="samples of it",
            found="no --data", todo="--data NAME, or an .npz with an array named after each input",
        )  # fmt: skip
    return True


def _drawn(draw: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    if dtype.kind == "f":
        return draw.random(shape, dtype=np.float32).astype(dtype)
    if dtype.itemsize == 1 and dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        return draw.integers(bounds.min, bounds.max, shape, dtype=dtype, endpoint=True)
    return draw.integers(0, 1, shape, endpoint=True).astype(dtype)


def of_data(data: str, signature: Signature, shapes: Mapping[str, tuple[int, ...]]) -> Given:
    """Return samples of a file or of a data set's test split, as the signature takes them.

    Real numbers for an 8-bit input are quantized with its scale and zero point, before any clock starts.

    Args:
        data: a data source, a folder of images, or an .npz: of a data set, or with an array for each input.

    Raises:
        InputError: there is no such data, or the model does not take it.
        MissingError: the source is not installed.
    """
    if not batched(signature):
        raise InputError(
            "the model has no batch dimension for single samples", expected="inputs that share one",
            found=", ".join(map(str, signature.takes)), todo="leave --data out: random values will do",
        )  # fmt: skip
    arrays, said = _arrays(data, signature) or _test_split(data, signature)
    fitted = {end.name: _fitted(arrays[end.name], end, signature, shapes, data) for end in signature.takes}
    found = _alone(fitted)
    return Given(found, f"{said} ({count(found)} samples)")


def _arrays(data: str, signature: Signature) -> tuple[dict[str, np.ndarray], str] | None:
    """Return the arrays of an .npz that has one for each input, or only one for the only input."""
    if not data.endswith(".npz") or not Path(data).is_file():
        return None
    try:
        with np.load(data, allow_pickle=False) as file:
            names = file.files
            if set(signature.names) <= set(names):
                return {name: file[name] for name in signature.names}, data
            if len(names) == len(signature.names) == 1:
                return {signature.names[0]: file[names[0]]}, data
    except (OSError, ValueError) as error:
        raise InputError(
            f"{data} cannot be read", expected="an .npz", found=str(error), todo="write it again"
        ) from None
    return None


def _test_split(data: str, signature: Signature) -> tuple[dict[str, np.ndarray], str]:
    from pipeline import data as sets
    from pipeline import single_step

    config = sets.DataConfig.model_validate(single_step.source(data))
    split = sets.load(config, strings=any(end.dtype == STRING for end in signature.takes)).test
    x = rows(split.x, slice(MOST))
    if not isinstance(x, Mapping):
        x = {signature.names[0]: x} if len(signature.names) == 1 else {"": x}
    if missing := [name for name in signature.names if name not in x]:
        raise InputError(
            f"--data {data} has nothing for {' and '.join(missing)}", expected=", ".join(signature.names),
            found=", ".join(x) or "one array", todo="give an .npz with an array named after each input",
        )  # fmt: skip
    return dict(x), f"{data}, test split"


def _fitted(
    array: np.ndarray, end: End, signature: Signature, shapes: Mapping[str, tuple[int, ...]], data: str
) -> np.ndarray:
    """Return an array in the type of an input, its sample shape checked."""
    array = np.asarray(array)[:MOST]
    wanted = None if end.shape is None else end.shape[1:]
    if end.name in shapes:
        wanted = shape_of(end, signature, shapes)
    fits = (
        array.ndim >= 1
        and len(array) > 0
        and (
            wanted is None
            or (
                array.ndim - 1 == len(wanted)
                and all(a in (None, b) for a, b in zip(wanted, array.shape[1:], strict=True))
            )
        )
    )
    texts, takes_texts = array.dtype.kind in "SUO", end.dtype == STRING
    if not fits or texts != takes_texts:
        raise InputError(
            f"--data {data} is not for this model", expected=str(end),
            found=f"{'strings' if texts else array.dtype} {list(array.shape)}",
            todo="give other data, or leave --data out for random values",
        )  # fmt: skip
    if takes_texts:
        return array
    dtype = np.dtype(end.dtype)
    if dtype.kind in "iu" and array.dtype.kind == "f" and end.quantization is not None:
        scale, zero = end.quantization
        bounds = np.iinfo(dtype)
        array = np.clip(np.round(array / scale) + zero, bounds.min, bounds.max)
    return np.ascontiguousarray(array, dtype=dtype)


def _alone(arrays: dict[str, np.ndarray]) -> Samples:
    """Return the one array of a model with one input: clients send it in the form that `measure` times."""
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays
