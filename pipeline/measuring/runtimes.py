"""What runs inside the measuring process: each exported file in its real runtime, or a served one, loaded once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import RunError
from pipeline.measuring import checks, guard, latency
from pipeline.measuring.guard import Guard
from pipeline.measuring.latency_config import LatencyConfig
from pipeline.measuring.source import File as File
from pipeline.measuring.source import Source as Source
from pipeline.predictor import Predictor, Spec, Stored, count, in_memory, rows
from pipeline.signature import Signature
from serving.client.endpoint import Endpoint

if TYPE_CHECKING:
    from pipeline.measuring.latency import Latency

# samples that are also answered one by one: a file that only works at one batch size is broken
_SINGLES = 16
# samples of those on the disk that are read to be timed with
_TIMED = 256
# logit units; kernels for one sample and for many sum in another order
_TOLERANCE = 1e-2


_loaded: dict[tuple[Source, Spec | None, int], Predictor] = {}


def load(source: Source, spec: Spec | None, threads: int) -> Predictor:
    """Return the predictor of an exported file or of a served model; made once per process.

    Args:
        spec: what it promises; None: any model, which is asked by its own `signature`.
    """
    key = source, spec, threads
    if key not in _loaded:
        _loaded[key] = fresh(source, spec, threads)
    return _loaded[key]


def signature(source: Source, threads: int) -> Signature:
    """Return what a model takes and gives by itself.

    Raises:
        FormatError: it has no signature `serving_default`, where its format wants one.
    """
    if isinstance(source, Endpoint):
        from serving.client import endpoint

        return endpoint.described(source)
    predictor: Any = load(source, None, threads)
    found: Signature = predictor.signature
    return found


def hang_up() -> None:
    """Close the clients of served models."""
    for key in [key for key in _loaded if isinstance(key[0], Endpoint)]:
        _loaded.pop(key).close()


def fresh(source: Source, spec: Spec | None, threads: int) -> Predictor:
    """Return a predictor as `load` does, with an interpreter or a connection of its own; the caller closes it."""
    from pipeline.formats import onnx, saved_model, tflite
    from serving.client import endpoint

    if isinstance(source, Endpoint):
        return endpoint.connect(source, spec)
    match source.form:
        case "saved_model":
            return saved_model.load(source.path, spec, threads)
        case "tflite":
            return tflite.load(source.path, spec, threads)
        case _:
            return onnx.load(source.path, spec, threads)


def answer_as_keras(model: Path, samples: Stored, threads: int, batch_size: int) -> dict[str, np.ndarray]:
    """Return what is kept of a stage's Keras model: what the exported files are compared with.

    Args:
        model: the stage's artifact folder.
        samples: raw values.

    Returns:
        the outputs that are `Spec.kept`, float32 [n, ...] each.
    """
    from pipeline.formats import fake_quant_file, keras_file, saved_model

    saved_model.pin_threads(threads)
    network, spec = fake_quant_file.read(model)
    return _in_batches(keras_file.KerasPredictor(network, spec), spec, _tokens(spec, samples), batch_size)


def answer(
    sources: Mapping[str, Source], spec: Spec, samples: Stored, threads: int, batch_size: int
) -> dict[str, dict[str, np.ndarray]]:
    """Return what is kept (`Spec.kept`) of each source's answers to every sample, float32 [n, ...].

    Args:
        samples: raw values; strings of texts, of which files that take token ids get these.

    Raises:
        RunError: one answers the same sample differently alone and in a batch.
    """
    return {name: _answer(source, spec, samples, threads, batch_size) for name, source in sources.items()}


def _answer(source: Source, spec: Spec, samples: Stored, threads: int, batch_size: int) -> dict[str, np.ndarray]:
    predictor, samples = load(source, spec, threads), as_taken(source, spec, samples)
    found = _in_batches(predictor, spec, samples, batch_size)
    singles = _in_batches(predictor, spec, rows(samples, slice(_SINGLES)), 1)
    for end, values in found.items():
        checks.end(found, end, who=str(source))
        difference = float(np.abs(singles[end] - values[:_SINGLES]).max())
        unit = 1.0 if checks.is_logits(end) else float(np.abs(values).max())
        if not difference <= _TOLERANCE * unit:
            raise RunError(
                f"{source} answers differently alone and in a batch", expected=f"{end} within {_TOLERANCE * unit:.3g}",
                found=f"a difference of {difference:.3g} in the first {len(singles[end])} samples",
                todo="check the model for operations across the batch",
            )  # fmt: skip
    return found


def as_taken(source: Source, spec: Spec, samples: Stored) -> Stored:
    """Return samples as a source takes them: only a SavedModel, served or not, takes texts as strings."""
    return samples if source.form == "saved_model" else _tokens(spec, samples)


def _tokens(spec: Spec, samples: Stored) -> Stored:
    return spec.tokens(samples) if in_memory(samples) else samples  # texts always are


def _in_batches(predictor: Predictor, spec: Spec, samples: Stored, batch_size: int) -> dict[str, np.ndarray]:
    parts = []
    for start in range(0, count(samples), batch_size):
        parts.append(predictor.predict(rows(samples, slice(start, start + batch_size))))
    return {end: np.concatenate([part[end] for part in parts]) for end in spec.kept}


def time(
    sources: Mapping[str, Source], spec: Spec, samples: Stored, threads: int, config: LatencyConfig, batch: int
) -> dict[str, Latency]:
    """Return the latencies of artifacts of one place that take turns; see `latency.measure`."""
    predictors = {name: load(source, spec, threads) for name, source in sources.items()}
    # token ids are made before the clock starts; nobody's disk is to be timed
    forms = {source.form: as_taken(source, spec, samples) for source in sources.values()}
    given = {form: one if in_memory(one) else rows(one, slice(max(batch, _TIMED))) for form, one in forms.items()}
    instead = {name: given[source.form] for name, source in sources.items()}
    for name, source in sources.items():
        predictor: Any = predictors[name]
        if isinstance(source, File) and source.form == "tflite" and predictor.integer:
            # the file is to be timed, and not what makes integers of raw values for it
            predictors[name], instead[name] = load(source, None, threads), predictor.stored(instead[name])
    first = next(iter(instead.values()))
    return latency.measure(predictors, first, config, batch=batch, ends=spec.ends, instead=instead)


def survive(sources: Mapping[str, Source], spec: Spec, samples: Stored, threads: int) -> dict[str, Guard]:
    """Return how served models take malformed requests; see `guard.check`."""
    return {
        name: guard.check(
            load(source, spec, threads),
            spec,
            rows(as_taken(source, spec, samples), slice(1)),
            source.protocol,
            strings=source.form == "saved_model",
        )
        for name, source in sources.items()
        if isinstance(source, Endpoint)
    }
