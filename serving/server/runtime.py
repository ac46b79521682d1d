"""What runs a version's folder: TensorFlow or LiteRT, with batching or without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from serving.server import graph_session, lite_session
from serving.server.batch_scheduler import Scheduler
from serving.server.batching import Batching, BatchingSession
from serving.server.batching_parameters import Parameters
from serving.server.flags import Values
from serving.server.session import Session

_LARGEST_LITE_BATCH = 500  # TF Serving's own, where it splits


class Runtime:
    """Opens version folders as the flags say; one for the whole server.

    Args:
        batching: for every model; None: requests are not batched.

    Raises:
        StatusError: nothing can run with these parameters.
    """

    def __init__(self, values: Values, batching: Parameters | None) -> None:
        both = values.tensorflow_session_parallelism
        self._config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=values.tensorflow_intra_op_parallelism or both,
            inter_op_parallelism_threads=values.tensorflow_inter_op_parallelism or both,
        )
        self._tags = values.saved_model_tags.split(",")
        self._lite = _Lite(values) if values.prefer_tflite_model else None
        per_model = values.enable_per_model_batching_parameters
        self._batching = Batching(batching, per_model=per_model) if batching else None

    def open(self, path: Path) -> tuple[Session, Mapping[str, Any]]:
        """Return the session of a version's folder, and its signatures by name.

        Raises:
            StatusError: it cannot be loaded.
        """
        session: Session
        if self._lite and (path / lite_session.FILE).exists():
            session, signatures = self._lite.open(path / lite_session.FILE)
        else:
            session, signatures = graph_session.load(path, self._tags, self._config)
        return self._batching.wrap(session, path) if self._batching else session, signatures

    def drain(self) -> None:
        """Let no request wait any longer for others to come: the server is to stop."""
        if self._batching:
            self._batching.drain()


class _Lite:
    """Opens .tflite files; with several interpreters per pool, large requests are split as TF Serving splits them."""

    def __init__(self, values: Values) -> None:
        self._pools = max(1, values.num_tflite_pools)
        self._split: tuple[Scheduler, Parameters] | None = None
        parts = values.num_tflite_interpreters_per_pool
        if parts > 1:
            parameters = Parameters(
                max_batch_size=_LARGEST_LITE_BATCH, max_enqueued_batches=100 * self._pools,
                enable_large_batch_splitting=True, max_execution_batch_size=-(-_LARGEST_LITE_BATCH // parts),
            )  # fmt: skip
            self._split = Scheduler(self._pools, "lite"), parameters

    def open(self, file: Path) -> tuple[Session, Mapping[str, Any]]:
        session, signatures = lite_session.load(file, self._pools)
        return BatchingSession(session, *self._split) if self._split else session, signatures
