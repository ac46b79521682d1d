"""TF-MOT's 8-bit scheme, mended where it drops the quantization of kernels or of what comes to them, and widened.

The layers that TF-MOT has no quantize config for and that have one here compute one operator with an int8 kernel in
LiteRT, whose output is rounded, or only hand on what was rounded before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.compress import kernels, prescribed_ranges
from pipeline.legacy_keras import load_tfmot

# their output is rounded to a range of its own
_ROUNDED = ("Maximum", "Minimum", "Multiply", "Rescaling", "Subtract", "UnitNormalization")
# they hand on values of what comes to them, and its range: with zeros perhaps
_HANDED_ON = (
    "AlphaDropout", "GaussianDropout", "GaussianNoise", "Identity", "RepeatVector", "UpSampling3D", "ZeroPadding3D",
)  # fmt: skip
# averages of neighbours are rounded to the range of what comes in. TF-MOT gives these a range of their own, to which
# LiteRT, whose kernels have one for both ends, then cuts what comes in; or its converter refuses to
_AVERAGED = ("AveragePooling1D", "AveragePooling2D", "UpSampling2D")


def scheme(left: Mapping[str, str], rounded: set[str]) -> Any:
    """Return the scheme for `quantize_apply`.

    Args:
        left: names of the layers that stay float.
        rounded: those of them whose output is rounded where an int8 layer takes it: that one would stay float, too.
    """
    load_tfmot()
    from tensorflow_model_optimization.python.core.quantization.keras import quantize_aware_activation
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_configs,
        default_8bit_quantize_layout_transform,
        default_8bit_quantize_registry,
        default_8bit_quantize_scheme,
        default_8bit_transforms,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.graph_transformations import model_transformer

    nothing, output = (
        default_8bit_quantize_configs.NoOpQuantizeConfig,
        default_8bit_quantize_configs.Default8BitOutputQuantizeConfig,
    )

    class SameRange(output):  # type: ignore[misc, valid-type]
        """The range behind a layer is the one before it; `prescribed_ranges` gives it that one."""

        same_range = True

    class Layout(default_8bit_quantize_layout_transform.Default8BitQuantizeLayoutTransform):  # type: ignore[misc]
        def apply(self, model: Any, layer_quantize_map: Any) -> Any:
            # the others match what `lowering.lower` has written as other layers
            transforms = [
                default_8bit_transforms.InputLayerQuantize(),
                default_8bit_transforms.Conv2DBatchNormReLUQuantize(),
                default_8bit_transforms.Conv2DBatchNormActivationQuantize(),
                default_8bit_transforms.Conv2DBatchNormQuantize(),
                default_8bit_transforms.LayerReLUQuantize(),
                default_8bit_transforms.LayerReluActivationQuantize(),
            ]
            transformed, configs = model_transformer.ModelTransformer(
                model, transforms, set(layer_quantize_map), layer_quantize_map
            ).transform()
            registry = Registry()
            for layer in transformed.layers:
                chosen = configs.get(layer.name, {}).get("quantize_config")
                # a pattern for Add, ReLU that also takes Conv2D, ReLU and Dense, ReLU, kernel and all
                if isinstance(chosen, nothing) and kernels.of(layer):
                    configs[layer.name]["quantize_config"] = registry.get_quantize_config(layer)
                    layer.activation = quantize_aware_activation.NoOpActivation()
            for layer in transformed.layers:
                if type(layer).__name__ == "Concatenate" and layer.name in configs:
                    together = _only_concatenated(layer, configs, registry)
                    for name in together:
                        configs[name]["quantize_config"] = nothing()
                    for name in [] if together else _not_rounded(layer, configs, registry):
                        configs[name]["quantize_config"] = SameRange()
            return transformed, configs

    class Registry(default_8bit_quantize_registry.Default8BitQuantizeRegistry):  # type: ignore[misc]
        def supports(self, layer: Any) -> bool:
            own = type(layer).__name__ in (*_ROUNDED, *_HANDED_ON, *_AVERAGED)
            return layer.name in rounded or (layer.name not in left and (own or super().supports(layer)))

        def get_quantize_config(self, layer: Any) -> Any:
            if layer.name in rounded or type(layer).__name__ in _ROUNDED:
                return output()
            if type(layer).__name__ in _AVERAGED:
                return SameRange()
            return nothing() if type(layer).__name__ in _HANDED_ON else super().get_quantize_config(layer)

    class Scheme(default_8bit_quantize_scheme.Default8BitQuantizeScheme):  # type: ignore[misc]
        def get_layout_transformer(self) -> Any:
            return Layout()

        def get_quantize_registry(self) -> Any:
            return Registry()

    return Scheme()


def _only_concatenated(layer: Any, configs: Mapping[str, Any], registry: Any) -> list[str]:
    """Return the names of the layers before a Concatenate if the output of all of them is rounded and goes only there.

    It need not be rounded before it is rounded together. One that is not rounded beside one that is takes the range of
    that one in the file, which then cuts what is outside. TF-MOT does that wherever it finds no reason not to.
    """
    found = []
    for before in layer._inbound_nodes[0].inbound_layers:
        chosen = _chosen(before, configs, registry)
        if len(before._outbound_nodes) > 1 or kernels.of(before) or not chosen:
            return []
        if not chosen.get_output_quantizers(before) or prescribed_ranges.same(chosen):
            return []
        found.append(before.name)
    return found


def _not_rounded(layer: Any, configs: Mapping[str, Any], registry: Any) -> list[str]:
    """Return the names of the layers before a Concatenate that only hand on what comes to them, unrounded."""
    return [
        before.name
        for before in layer._inbound_nodes[0].inbound_layers
        if type(before).__name__ != "QuantizeLayer"
        and not prescribed_ranges.fixed(before)
        and (chosen := _chosen(before, configs, registry))
        and not chosen.get_weights_and_quantizers(before)
        and not chosen.get_activations_and_quantizers(before)
        and not chosen.get_output_quantizers(before)
    ]


def _chosen(layer: Any, configs: Mapping[str, Any], registry: Any) -> Any:
    """Return the quantize config of a layer; None where it has none."""
    chosen = configs.get(layer.name, {}).get("quantize_config")
    if chosen is None and layer.name in configs and registry.supports(layer):
        chosen = registry.get_quantize_config(layer)
    return chosen
