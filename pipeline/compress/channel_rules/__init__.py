"""How channels go through each kind of layer: which axes of its weights and outputs belong to which channels.

One module a family, one table of all kinds. A rule looks at shapes and settings alone. It says which positions are
the same channel (`ChannelIds.unite`) and what has to stay whole, with the reason (`ChannelIds.keep`).
"""

from __future__ import annotations

from pipeline.compress import support
from pipeline.compress.channel_ids import ChannelIds
from pipeline.compress.channel_rules.attention import attention
from pipeline.compress.channel_rules.call import Call, Layout, Rule, Sizes, stop
from pipeline.compress.channel_rules.elementwise import activation, elementwise, merge, operation, rescaling, softmax
from pipeline.compress.channel_rules.kernels import convolution, dense, depthwise, embedding, separable, transposed
from pipeline.compress.channel_rules.places import concatenate, global_pooling, permute, repeat, reshape, spatial
from pipeline.compress.channel_rules.recurrent import RECURRENT, bidirectional, recurrent
from pipeline.compress.channel_rules.scales import group_normalization, normalization, prelu


def layout(call: Call, ids: ChannelIds) -> Layout:
    """Return where a layer's channels are; one through which they cannot be followed keeps all that it is given."""
    kind = type(call.layer).__name__
    reason, rule = support.whole(call.layer), RULES.get(kind)
    if reason or rule is None:
        return stop(call, ids, reason or "channels are not followed through this kind of layer")
    if kind not in _SEVERAL:
        for axes in call.inputs[1:]:
            ids.keep(axes, f"{call.name} takes them for a mask")
    return rule(call, ids)


def _distributed(call: Call, ids: ChannelIds) -> Layout:
    """TimeDistributed: the layer inside, for each step."""
    inner = call.layer.layer
    rule = RULES.get(type(inner).__name__)
    if rule is None or support.whole(inner) or len(call.inputs) != 1:
        return stop(call, ids, "the layer inside is not followed")
    ids.keep(call.x[:1], f"{call.name} takes them for places, not for channels")
    within = Call(inner, (call.x[1:],), (call.shapes[0][1:],), (), {}, call.known, (call.output_shapes[0][1:],))
    found = rule(within, ids)
    sizes: Sizes = {("layer", "config", *path): size for path, size in found.sizes.items()}
    return Layout(((None, *found.outputs[0]),), found.weights, sizes)


_MERGING = ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")
# whose rules look at all that they are given
_SEVERAL = (*_MERGING, *RECURRENT, "Bidirectional", "Concatenate", "MultiHeadAttention", "TFOpLambda")

RULES: dict[str, Rule] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), convolution),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), transposed),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), depthwise),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), separable),
    "Dense": dense,
    "Embedding": embedding,
    **dict.fromkeys(RECURRENT, recurrent),
    "Bidirectional": bidirectional,
    "MultiHeadAttention": attention,
    "TimeDistributed": _distributed,
    **dict.fromkeys(("BatchNormalization", "LayerNormalization"), normalization),
    "GroupNormalization": group_normalization,
    "PReLU": prelu,
    "Activation": activation,
    "Softmax": softmax,
    "Rescaling": rescaling,
    **dict.fromkeys(
        ("ActivityRegularization", "AlphaDropout", "Dropout", "ELU", "GaussianDropout", "GaussianNoise", "Identity",
         "LeakyReLU", "ReLU", "ThresholdedReLU", "UnitNormalization"), elementwise,
    ),
    **{f"{kind}{n}D": spatial
       for kind in ("AveragePooling", "Cropping", "MaxPooling", "SpatialDropout", "UpSampling", "ZeroPadding")
       for n in (1, 2, 3)},
    **{f"Global{kind}Pooling{n}D": global_pooling for kind in ("Average", "Max") for n in (1, 2, 3)},
    **dict.fromkeys(_MERGING, merge),
    "Concatenate": concatenate,
    "Flatten": reshape,
    "Reshape": reshape,
    "Permute": permute,
    "RepeatVector": repeat,
    "TFOpLambda": operation,
}  # fmt: skip
