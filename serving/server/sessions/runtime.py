"""What runs a version's folder: TensorFlow or LiteRT, with batching or without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.layout import LITE
from serving.server.batching import parameters as batching_parameters
from serving.server.batching.parameters import Parameters
from serving.server.batching.scheduler import Scheduler
from serving.server.flags import Values
from serving.server.status import invalid

if TYPE_CHECKING:
    from serving.server.sessions.session import Session

_LARGEST_LITE_BATCH = 500  # TF Serving's own, where it splits


class Runtime:
    """Opens version folders as the flags say; one for the whole server. TensorFlow is imported at the first.

    Args:
        batching: for every model, or only its threads where each brings its own; None: requests are not batched.

    Raises:
        StatusError: there are no threads to run batches on.
    """

    def __init__(self, values: Values, batching: Parameters | None) -> None:
        if batching and batching.num_batch_threads < 1:
            raise invalid(f"num_batch_threads must be positive; was {batching.num_batch_threads}")
        self._values, self._batching = values, batching
        self._scheduler = Scheduler(batching.num_batch_threads, "batch") if batching else None
        self._pools = max(1, values.num_tflite_pools)
        splits = values.prefer_tflite_model and values.num_tflite_interpreters_per_pool > 1
        self._lite_scheduler = Scheduler(self._pools, "lite") if splits else None

    def open(self, path: Path) -> tuple[Session, Mapping[str, Any]]:
        """Return the session of a version's folder, and its signatures by name.

        Raises:
            StatusError: it cannot be loaded.
        """
        from serving.server.batching.session import BatchingSession

        lite = self._values.prefer_tflite_model and (path / LITE).exists()
        session, signatures = self._open_lite(path / LITE) if lite else self._open_saved_model(path)
        parameters = self._parameters(path)
        if self._scheduler and parameters:
            parameters.check()
            session = BatchingSession(session, self._scheduler, parameters)
        return session, signatures

    def drain(self) -> None:
        """Let no request wait any longer for others to come: the server is to stop."""
        if self._scheduler:
            self._scheduler.drain()

    def _parameters(self, path: Path) -> Parameters | None:
        """Return how the requests to a version are batched; None: not at all."""
        if not self._values.enable_per_model_batching_parameters:
            return self._batching
        file = path / batching_parameters.PER_MODEL
        return batching_parameters.read(file) if self._batching and file.exists() else None

    def _open_saved_model(self, path: Path) -> tuple[Session, Mapping[str, Any]]:
        import tensorflow as tf

        from serving.server.sessions import graph as graph_session

        values, both = self._values, self._values.tensorflow_session_parallelism
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=values.tensorflow_intra_op_parallelism or both,
            inter_op_parallelism_threads=values.tensorflow_inter_op_parallelism or both,
        )
        return graph_session.load(path, values.saved_model_tags.split(","), config)

    def _open_lite(self, file: Path) -> tuple[Session, Mapping[str, Any]]:
        """Open a .tflite; with several interpreters per pool, large requests are split as TF Serving splits them."""
        from serving.server.batching.session import BatchingSession
        from serving.server.sessions import lite as lite_session

        session, signatures = lite_session.load(file, self._pools)
        if not self._lite_scheduler:
            return session, signatures
        parameters = Parameters(
            max_batch_size=_LARGEST_LITE_BATCH, max_enqueued_batches=100 * self._pools,
            enable_large_batch_splitting=True,
            max_execution_batch_size=-(-_LARGEST_LITE_BATCH // self._values.num_tflite_interpreters_per_pool),
        )  # fmt: skip
        return BatchingSession(session, self._lite_scheduler, parameters), signatures
