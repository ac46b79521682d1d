"""MobileNets: V1 of depthwise separable convolutions (Howard et al., 2017), V2 of inverted residuals with linear
bottlenecks and ReLU6 (Sandler et al., 2018).

Both halve the map five times, which suits images of 96 pixels and more. For smaller ones `reduction` takes strides
away, from the first layer on: the layers are the same, and work on larger maps. `blocks` leaves out the last ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from models import convolution, layers, strides
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.predictor import Spec

_STEM = (32, 2)  # channels, stride
_LAST = 1280  # V2 only
# V1, table 1: channels and stride of each block
_SEPARABLE = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1),
)  # fmt: skip
# V2, table 2: expansion, channels, blocks and the first one's stride
_TABLE_2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# expansion, channels and stride of each block
_INVERTED = tuple(
    (expansion, filters, stride)
    for expansion, filters, blocks, first in _TABLE_2
    for stride in (first, *(1,) * (blocks - 1))
)


class Config(convolution.WidthConfig):
    """A MobileNet for images, version 1 or 2."""

    architecture: Literal["mobilenet"] = "mobilenet"
    version: Literal[1, 2] = Field(
        default=2, description="1: depthwise separable convolutions; 2: inverted residuals, linear bottlenecks"
    )
    blocks: int | None = Field(
        default=None, ge=1, description="only the first so many blocks; null: all, 13 in version 1, 17 in version 2"
    )
    reduction: strides.Reduction | None = Field(default=None, description=strides.REDUCTION)
    explicit_padding: bool = Field(
        default=False,
        description="where the map is halved, a layer of its own pads it by 1 on each side, as XNNPACK's sparse "
        "kernels want it (prune.policy); they also want the first convolution's stride, so that on small images those "
        "behind it are left out first, and images of 3 channels",
    )

    @model_validator(mode="after")
    def _blocks_are_there(self) -> Config:
        most = len(_SEPARABLE if self.version == 1 else _INVERTED)
        if self.blocks is not None and self.blocks > most:
            raise ValueError(f"blocks is {self.blocks}, but version {self.version} has {most}")
        return self


def check(config: Config, input_shape: tuple[int, ...]) -> None:
    """Refuse inputs that are no images, and a reduction that the layers or the image do not allow.

    Raises:
        InputError: with the largest reduction that is possible.
    """
    convolution.require_image(input_shape, "mobilenet")
    strides.check(config.reduction, _paper_strides(config), input_shape, "mobilenet")


def build(config: Config, spec: Spec, seed: int) -> Any:
    """Return the untrained model; see `models.build`."""
    seed_of = layers.seeds(seed)
    raw, x = layers.begin(spec)
    # XNNPACK's sparse kernels begin behind a first convolution that halves the map
    steps = strides.reduced(
        config.reduction, _paper_strides(config), spec.input.shape, keep_first=config.explicit_padding
    )
    x = (_version_1 if config.version == 1 else _version_2)(x, config, steps, seed_of)
    x = convolution.average(x, config, seed_of)
    return layers.end(raw, x, config, spec, f"mobilenet_v{config.version}", seed_of)


def _paper_strides(config: Config) -> list[int]:
    """Return the strides of the first convolution and of the blocks, as the papers have them."""
    blocks = _SEPARABLE if config.version == 1 else _INVERTED
    return [_STEM[1], *(block[-1] for block in blocks[: config.blocks])]


def _version_1(x: Any, config: Config, steps: list[int], seed_of: Iterator[int]) -> Any:
    width, explicit = config.width_multiplier, config.explicit_padding
    stem = convolution.channels(_STEM[0], width)
    x = convolution.convolution(x, config, stem, 3, "stem", seed_of, strides=steps[0], explicit=explicit)
    for block, ((filters, _), stride) in enumerate(zip(_SEPARABLE, steps[1:], strict=False), start=1):
        x = convolution.depthwise(x, config, f"block_{block}_depthwise", seed_of, strides=stride, explicit=explicit)
        filters = convolution.channels(filters, width)
        x = convolution.convolution(x, config, filters, 1, f"block_{block}_pointwise", seed_of)
    return x


def _version_2(x: Any, config: Config, steps: list[int], seed_of: Iterator[int]) -> Any:
    width, explicit = config.width_multiplier, config.explicit_padding
    stem = convolution.channels(_STEM[0], width)
    x = convolution.convolution(
        x, config, stem, 3, "stem", seed_of, strides=steps[0], activation="relu6", explicit=explicit
    )
    for block, ((expansion, filters, _), stride) in enumerate(zip(_INVERTED, steps[1:], strict=False), start=1):
        x = _inverted(x, config, expansion, convolution.channels(filters, width), stride, f"block_{block}", seed_of)
    # a narrower network keeps the last layer's width, as the paper has it
    last = convolution.channels(_LAST, max(1.0, width))
    return convolution.convolution(x, config, last, 1, "last", seed_of, activation="relu6")


def _inverted(
    x: Any, config: Config, expansion: int, filters: int, stride: int, name: str, seed_of: Iterator[int]
) -> Any:
    keras = load_keras()
    inside, incoming = x, int(x.shape[-1])
    if expansion > 1:
        wide = expansion * incoming
        inside = convolution.convolution(inside, config, wide, 1, f"{name}_expand", seed_of, activation="relu6")
    inside = convolution.depthwise(
        inside, config, f"{name}_depthwise", seed_of, strides=stride, activation="relu6",
        explicit=config.explicit_padding,
    )  # fmt: skip
    inside = convolution.convolution(inside, config, filters, 1, f"{name}_project", seed_of, activation="linear")
    if stride == 1 and incoming == filters:
        # a layer and not `+`: quantization-aware training knows it
        return keras.layers.Add(name=f"{name}_add")([x, inside])
    return inside
