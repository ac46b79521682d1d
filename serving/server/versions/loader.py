"""How a version folder becomes a servable that is ready for requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from serving.server.flags import Values
from serving.server.sessions.runtime import Runtime
from serving.server.versions.registry import Registry

if TYPE_CHECKING:
    from serving.server.servable import Servable


def loader(values: Values, registry: Registry, runtime: Runtime) -> Callable[[str, int, Path], Servable]:
    """Return what loads a version and replays its warm-up requests; TensorFlow is imported at its first call."""

    def load(name: str, version: int, path: Path) -> Servable:
        from serving.server.grpc.inference import GrpcInference
        from serving.server.inference import Inference
        from serving.server.servable import Servable
        from serving.server.versions.warmup import warm_up

        session, signatures = runtime.open(path)
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
