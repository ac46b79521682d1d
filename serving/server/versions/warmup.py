"""Warm-up: the requests that come with a version are replayed on it before it becomes AVAILABLE (rule 8).

They go the way of a client's requests, so that what TensorFlow prepares per set of inputs and outputs is there when
the first client comes (rule 9.1).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.server.grpc.inference import GrpcInference
from serving.server.servable import Servable
from serving.server.status import Code, StatusError, invalid
from serving.warmup import FILE

log = logging.getLogger(__name__)
MOST_RECORDS = 1000


def warm_up(servable: Servable, path: Path, inference: GrpcInference, iterations: int) -> None:
    """Replay the requests in a version's folder, if there are any; the model that they name does not matter.

    Args:
        path: the version's folder.
        iterations: how often each request is replayed; below 1: once.

    Raises:
        StatusError: the file is no TFRecord of PredictionLogs, holds too many, or a request fails.
    """
    file = path / FILE
    if not file.exists():
        return
    count = 0
    try:
        for record in tf.compat.v1.io.tf_record_iterator(str(file)):
            count += 1
            if count > MOST_RECORDS:
                raise invalid(f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {file}")
            replay = _replay(inference, _parsed(record, file))
            for _ in range(max(1, iterations)):
                replay(servable)
    except tf.errors.DataLossError as error:
        raise StatusError(
            Code.DATA_LOSS, f"{error.message}. Please verify your warmup data is in TFRecord format."
        ) from None
    except tf.errors.OpError as error:
        raise StatusError(Code(error.error_code), error.message) from None
    log.info("Finished reading warmup data for model at %s. Number of warmup records read: %d.", file, count)


def _parsed(record: bytes, file: Path) -> Any:
    try:
        return prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError:
        shown = record.decode("utf-8", "replace")
        raise invalid(f"Failed to parse warmup record: {shown} from {file}") from None


def _replay(inference: GrpcInference, record: Any) -> Callable[[Servable], object]:
    """Return what makes a record's call; nothing where it holds none."""
    calls = {
        "predict_log": inference.predict,
        "classify_log": inference.classify,
        "regress_log": inference.regress,
        "multi_inference_log": inference.multi_inference,
    }
    kind = record.WhichOneof("log_type")
    if kind is None:
        return lambda _: None
    if kind not in calls:
        number = record.DESCRIPTOR.fields_by_name[kind].number
        raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")
    request = getattr(record, kind).request
    return lambda servable: calls[kind](servable, request, None)
