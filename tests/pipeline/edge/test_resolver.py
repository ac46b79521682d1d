"""Which operators a program has to register in TFLM."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from pipeline.edge import resolver
from tests.pipeline.edge import small


def test_operators_of_a_file_are_counted_with_the_methods_that_register_them(files: Path) -> None:
    assert [(one.kind, one.count, one.method) for one in resolver.operators(files / small.INT8_ENDS)] == [
        ("CONV_2D", 2, "AddConv2D"),
        ("FULLY_CONNECTED", 1, "AddFullyConnected"),
        ("MAX_POOL_2D", 1, "AddMaxPool2D"),
        ("MEAN", 1, "AddMean"),
    ]


def test_custom_operators_have_methods_of_their_own_when_tflm_has_them(files: Path, tmp_path: Path) -> None:
    path = small.changed(files / small.INT8_ENDS, tmp_path / "npu.tflite", small.for_an_npu)
    assert resolver.Operator("ethos-u", 1, "AddEthosU") in resolver.operators(path)


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("DEPTHWISE_CONV_2D", "AddDepthwiseConv2D"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "AddUnidirectionalSequenceLSTM"),
        ("BATCH_MATMUL", "AddBatchMatMul"),
        ("PADV2", "AddPadV2"),
        ("SELECT_V2", "AddSelectV2"),
        ("BATCH_TO_SPACE_ND", "AddBatchToSpaceNd"),
        ("L2_POOL_2D", "AddL2Pool2D"),
        ("CUMSUM", "AddCumSum"),
        ("CONV_3D", ""),
    ],
)
def test_method_is_written_as_in_tflm_when_the_operator_is(kind: str, method: str) -> None:
    assert resolver.method(kind) == method


def test_operators_with_a_method_are_those_that_the_runtime_has_kernels_of() -> None:
    package = importlib.util.find_spec("tflite_micro")
    assert package is not None
    assert package.origin is not None
    library = (Path(package.origin).parent / "python/tflite_micro/_runtime.so").read_bytes()
    for kind in (name for name in vars(BuiltinOperator) if not name.startswith("_")):
        exported = f"Register_{kind}Ev".encode()  # the function's name as C++ mangles it
        assert (exported in library) == bool(resolver.method(kind)), kind
