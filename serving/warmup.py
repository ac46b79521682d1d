"""Warm-up records: requests that a server replays on a version before it is served.

TensorFlow prepares a graph when a set of inputs and outputs is first asked for, which takes tens of milliseconds to
seconds; what a version brings as `assets.extra/tf_serving_warmup_requests`, a TFRecord of PredictionLogs, it does
before the first client comes. The requests are what clients send: the signature serving_default, every input, and no
output_filter, so all outputs; REST asks for all outputs anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.client.signature import NAME as SIGNATURE

if TYPE_CHECKING:
    import numpy as np

FILE = Path("assets.extra", "tf_serving_warmup_requests")


def write(version: Path, samples: Mapping[str, np.ndarray], batches: Sequence[int]) -> Path:
    """Write a version's warm-up records, one Predict request for each batch size, and return their file.

    Equal samples give equal bytes.

    Args:
        version: the folder that holds saved_model.pb or model.tflite.
        samples: each input by its name in the signature, [n, ...], n >= 1, as the model takes it: a SavedModel takes
            texts as strings, a .tflite their token ids. A batch of more than n repeats them.
        batches: numbers of samples in a request.
    """
    import numpy as np
    from tensorflow_serving.apis import prediction_log_pb2

    from serving.client import tensors

    records = []
    for size in batches:
        record = prediction_log_pb2.PredictionLog()
        request = record.predict_log.request
        request.model_spec.signature_name = SIGNATURE  # a server takes no notice of a model's name here
        for name, array in samples.items():
            given = array[np.arange(size) % len(array)]
            tensors.describe(request.inputs[name], given)
            tensors.fill(request.inputs[name], given)
        records.append(record)
    return _write(version / FILE, records)


def limit(version: Path, max_batch_size: int) -> tuple[int, ...]:
    """Leave out the records with more samples than a server's batches may have: it would not load the version.

    The file is replaced, not changed: what it was linked to keeps its records. Of none that are left it is removed.

    Returns:
        The batch sizes that were left out.
    """
    path = version / FILE
    found = read(version)
    kept = [record for record in found if batch(record) <= max_batch_size]
    if kept:
        _write(path, kept)
    else:
        path.unlink(missing_ok=True)
    return tuple(batch(record) for record in found if batch(record) > max_batch_size)


def read(version: Path) -> list[Any]:
    """Return a version's records, PredictionLogs; none where it has no file."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    path = version / FILE
    if not path.exists():
        return []
    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record) for record in records]


def _write(path: Path, records: Sequence[Any]) -> Path:
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.part")
    with tf.io.TFRecordWriter(str(beside)) as writer:
        for record in records:
            writer.write(record.SerializeToString(deterministic=True))
    return beside.replace(path)


def batch(record: Any) -> int:
    """Return the number of samples in a Predict request; 0 of anything else."""
    shapes = [tensor.tensor_shape.dim for tensor in record.predict_log.request.inputs.values()]
    return max((int(shape[0].size) for shape in shapes if shape), default=0)
