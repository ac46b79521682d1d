"""ModelService.HandleReloadConfigRequest (rule 3.12)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from tensorflow_serving.apis import model_management_pb2

from serving.server.status import Code, StatusError, invalid

log = logging.getLogger(__name__)


def answer(
    reload: Callable[[Any, Callable[[], bool]], None], counter: Callable[[str], int]
) -> Callable[[Any, Any], Any]:
    """Return what answers the RPC.

    Args:
        reload: applies a ModelServerConfig for as long as its second argument says that somebody waits.
        counter: the value of a metric of this name, 0 where there is none.
    """

    def handle(request: Any, context: Any) -> Any:
        names = dict.fromkeys(request.metric_names)
        before = {name: counter(name) for name in names}
        try:
            if request.config.WhichOneof("config") != "model_config_list":
                raise invalid(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is "
                    "currently supported"
                )
            for index, entry in enumerate(request.config.model_config_list.config):
                log.info("Config entry index : %d path : %s name : %s platform : %s",
                         index, entry.base_path, entry.name, entry.model_platform)  # fmt: skip
            reload(request.config, context.is_active)
        except StatusError as error:
            log.error("ReloadConfig failed: %s", error.text)
            raise
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = int(Code.OK)
        for name in names:
            response.metric.add(name=name, int64_value_increase=counter(name) - before[name])
        return response

    return handle
