"""What both protocols share once a request's inputs are arrays: checks against the signature, then the run."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from serving.server.metrics import Metrics
from serving.server.servable import Servable, Signature
from serving.server.status import Code, StatusError, invalid
from serving.server.versions.registry import Registry

_METHODS = ("tensorflow/serving/predict", "tensorflow/serving/classify", "tensorflow/serving/regress")


@dataclass(frozen=True)
class Inference:
    """Runs requests; both protocols hold the same one.

    Attributes:
        registry: the models.
        check_method_names: refuse signatures with an odd method name.
        metrics: of both protocols.
    """

    registry: Registry
    check_method_names: bool = False
    metrics: Metrics = field(default_factory=Metrics)

    def check_method(self, signature: Signature) -> None:
        """Refuse an odd method name where the flag asks for it.

        Raises:
            StatusError: INTERNAL.
        """
        if self.check_method_names and signature.method_name not in _METHODS:
            raise StatusError(
                Code.INTERNAL,
                f"Expected prediction signature method_name to be one of {{{', '.join(_METHODS)}}}. "
                f"Was: {signature.method_name}",
            )

    def run(
        self,
        servable: Servable,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str],
        timeout_ms: int | None,
        api: str = "Predict",
    ) -> list[np.ndarray]:
        """Run a checked request.

        Args:
            api: the gRPC method that is run, in either protocol, for the metrics.

        Raises:
            StatusError: the run fails.
        """
        started = time.perf_counter()
        found = servable.run(signature, inputs, outputs, timeout_ms)
        self.metrics.run(servable.name, api, time.perf_counter() - started)
        return found


def check_inputs(signature: Signature, given: Collection[str]) -> None:
    """Compare the names of a request's inputs with the signature (rule 3.3, checks 3 and 4).

    Raises:
        StatusError: too many, too few or wrong ones.
    """
    wanted = signature.inputs
    if len(given) == len(wanted) and all(alias in given for alias in wanted):
        return
    sent = sorted(given)
    if len(sent) > len(wanted) or (len(sent) < len(wanted) and not signature.defaults):
        extra = [alias for alias in sent if alias not in wanted]
        missing = [alias for alias in wanted if alias not in given]
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(wanted)} len({{{_names(sent)}}}) != "
            f"len({{{_names(wanted)}}}). Sent extra: {{{_names(extra)}}}. Missing but required: {{{_names(missing)}}}."
        )
    for alias, end in wanted.items():
        if alias not in given and alias not in signature.defaults:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {end.name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {{{_names(sent)}}}, or default input alias set: "
                f"{_names(signature.defaults)}"
            )
    unused = [alias for alias in sent if alias not in wanted]
    if unused:
        used = [alias for alias in sent if alias in wanted]
        raise invalid(
            f"Inputs contains invalid name. Used request inputs: {_names(used)}, request input: {_names(sent)}"
        )


def chosen_outputs(signature: Signature, output_filter: Sequence[str]) -> Sequence[str]:
    """Return the aliases to fetch: those of the filter, or all (rule 3.3, check 6).

    Raises:
        StatusError: an alias is unknown or named twice.
    """
    if not output_filter:
        return tuple(signature.outputs)
    seen = set()
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{_names(signature.outputs)}}}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    return output_filter


def _names(aliases: Iterable[str]) -> str:
    return ",".join(aliases)
