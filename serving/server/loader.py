"""How a version folder becomes a servable that is ready for requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from serving.server.flags import Values
from serving.server.registry import Registry

if TYPE_CHECKING:
    from serving.server.servable import Servable


def loader(values: Values, registry: Registry) -> Callable[[str, int, Path], Servable]:
    """Return what loads a version and replays its warm-up requests; TensorFlow is imported at its first call."""

    def load(name: str, version: int, path: Path) -> Servable:
        import tensorflow as tf

        from serving.server import graph_session
        from serving.server.grpc_inference import GrpcInference
        from serving.server.inference import Inference
        from serving.server.servable import Servable
        from serving.server.warmup import warm_up

        both = values.tensorflow_session_parallelism
        session_config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=values.tensorflow_intra_op_parallelism or both,
            inter_op_parallelism_threads=values.tensorflow_inter_op_parallelism or both,
        )
        session, signatures = graph_session.load(path, values.saved_model_tags.split(","), session_config)
        try:
            servable = Servable(name, version, session, signatures)
            if values.enable_model_warmup:
                rehearsal = GrpcInference(Inference(registry, values.enable_signature_method_name_check))
                warm_up(servable, path, rehearsal, values.num_request_iterations_for_warmup)
        except Exception:
            session.close()
            raise
        return servable

    return load
