"""The operations that a graph of the user's may hold: from tensors to tensors, with no file, process or Python in them.

TensorFlow runs whatever a graph says, some of it while it is loaded. So its functions are looked through as bytes
before; and what is called is looked through once more as TensorFlow understood it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.formats.keras_config import shown
from pipeline.formats.plain.folder import GRAPH

# fmt: off
COMPUTING = frozenset({
    "Abs", "Acos", "Acosh", "Add", "AddN", "AddV2", "All", "Any", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atan2",
    "Atanh", "AvgPool", "AvgPool3D", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "BatchToSpaceND", "BiasAdd",
    "BroadcastArgs", "BroadcastTo", "Bucketize", "Cast", "Ceil", "ClipByValue", "Concat", "ConcatV2", "Const", "Conv",
    "Conv2D", "Conv2DBackpropInput", "Conv3D", "Conv3DBackpropInputV2", "Cos", "Cosh", "Cumprod", "Cumsum",
    "DepthToSpace", "DepthwiseConv2dNative", "DiagPart", "Div", "DivNoNan", "Einsum", "Elu", "EnsureShape", "Equal",
    "Erf", "Erfc", "Exp", "ExpandDims", "Expm1", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars",
    "FakeQuantWithMinMaxVarsPerChannel", "Fill", "Floor", "FloorDiv", "FloorMod", "FusedBatchNorm", "FusedBatchNormV2",
    "FusedBatchNormV3", "Gather", "GatherNd", "GatherV2", "Greater", "GreaterEqual", "Identity", "IdentityN",
    "IsFinite", "IsInf", "IsNan", "L2Loss", "LRN", "LeakyRelu", "Less", "LessEqual", "LinSpace", "Log", "Log1p",
    "LogSoftmax", "LogicalAnd", "LogicalNot", "LogicalOr", "MatMul", "MatrixBandPart", "MatrixDiagV3",
    "MatrixDiagPartV3", "Max", "MaxPool", "MaxPool3D", "MaxPoolV2", "Maximum", "Mean", "Min", "Minimum", "MirrorPad",
    "Mod", "Mul", "MulNoNan", "Neg", "NoOp", "NotEqual", "OneHot", "OnesLike", "Pack", "Pad", "PadV2", "Placeholder",
    "Pow", "PreventGradient", "Prod", "Range", "Rank", "RealDiv", "Reciprocal", "Relu", "Relu6", "Reshape",
    "ResizeArea", "ResizeBicubic", "ResizeBilinear", "ResizeNearestNeighbor", "ReverseSequence", "ReverseV2", "Rint",
    "Roll", "Round", "Rsqrt", "ScatterNd", "Select", "SelectV2", "Selu", "Shape", "ShapeN", "Sigmoid", "Sign", "Sin",
    "Sinh", "Size", "Slice", "Softmax", "Softplus", "Softsign", "SpaceToBatchND", "SpaceToDepth", "Split", "SplitV",
    "Sqrt", "Square", "SquaredDifference", "Squeeze", "StopGradient", "StridedSlice", "Sub", "Sum", "Tan", "Tanh",
    "TensorListElementShape", "TensorListFromTensor", "TensorListGetItem", "TensorListLength", "TensorListReserve",
    "TensorListSetItem", "TensorListStack", "Tile", "TopKV2", "Transpose", "TruncateDiv", "TruncateMod", "Unpack",
    "Where", "Xdivy", "Xlogy", "ZerosLike",
    # what recurrent layers bring along for other machines and for training
    "ConcatOffset", "CudnnRNNBackpropV3", "CudnnRNNV3", "InvertPermutation",
    # weights, and calls of other functions of the same graph
    "ReadVariableOp", "ResourceGather", "VarHandleOp", "Case", "If", "PartitionedCall", "StatefulPartitionedCall",
    "StatelessCase", "StatelessIf", "StatelessWhile", "While",
})
# in functions that are there and are never called: of training, and of saving and restoring
_IDLE = frozenset({
    "AssignAddVariableOp", "AssignSubVariableOp", "AssignVariableOp", "DisableCopyOnRead", "MergeV2Checkpoints",
    "RandomStandardNormal",
    "RandomUniform", "RandomUniformInt", "RestoreV2", "SaveV2", "ShardedFilename", "StatelessRandomGetKeyCounter",
    "StatelessRandomNormalV2", "StatelessRandomUniformV2", "StatelessTruncatedNormalV2", "StaticRegexFullMatch",
    "StringJoin", "TruncatedNormal", "VarIsInitializedOp",
})
# what TensorFlow makes of an object without running a function of the file
_OBJECTS = frozenset({"user_object", "bare_concrete_function", "constant", "captured_tensor", "function", "variable"})
# fmt: on


def require_harmless(folder: Path, path: Path) -> None:
    """Look through a SavedModel before TensorFlow loads it; nothing of it runs.

    Args:
        folder: a copy of it.
        path: the user's folder, for messages.

    Raises:
        InputError: it is none of TensorFlow 2's, or holds what reads, writes or runs something.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        proto = saved_model_pb2.SavedModel.FromString((folder / GRAPH).read_bytes())
    except DecodeError as error:
        raise InputError(
            f"{path} is not a SavedModel", expected=f"a {GRAPH} that TensorFlow wrote", found="other bytes",
            todo="copy the folder again from where it came from",
        ) from error  # fmt: skip
    if len(proto.meta_graphs) != 1 or not proto.meta_graphs[0].HasField("object_graph_def"):
        raise InputError(
            f"the SavedModel {path} is not of TensorFlow 2", expected="one graph with its objects",
            found=f"{len(proto.meta_graphs)} graphs" if len(proto.meta_graphs) != 1 else "no objects",
            todo="write it with TensorFlow 2: tf.saved_model.save(model, folder)",
        )  # fmt: skip
    graph = proto.meta_graphs[0]
    names = {node.op for node in graph.graph_def.node}
    names |= {node.op for function in graph.graph_def.library.function for node in function.node_def}
    own = {function.signature.name for function in graph.graph_def.library.function}
    found = sorted(names - COMPUTING - _IDLE - own)
    for node in graph.object_graph_def.nodes:
        kind = node.WhichOneof("kind")
        if kind not in _OBJECTS or node.registered_saver or node.saveable_objects:
            found.append(f"an object that is made by running the file's functions ({kind})")
    _refuse(path, found)


def require_computing(function: Any, path: Path) -> None:
    """Look through a function that TensorFlow loaded, with all that it calls.

    Raises:
        InputError: it does more than to compute.
    """
    graph = function.graph.as_graph_def()
    own = {one.signature.name for one in graph.library.function}
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    _refuse(path, sorted({node.op for node in nodes} - COMPUTING - own))


def _refuse(path: Path, found: Iterable[str]) -> None:
    what = [shown(one) for one in dict.fromkeys(found)]
    if what:
        raise InputError(
            f"the SavedModel {path} holds operations that are not known to be harmless",
            expected="operations from numbers to numbers",
            found=", ".join(what[:5]) + (f" and {len(what) - 5} more" if len(what) > 5 else ""),
            todo="export the model without them: what reads files, looks up texts or runs Python stays outside of it",
        )  # fmt: skip
