from __future__ import annotations

from pipeline.edge.placement import refusals

REPORT = """Warning: No configuration file specified. Using a default.

Warning (supported operators) operator: DEQUANTIZE, ofm: 'StatefulPartitionedCall:0'
Reason: Unsupported opType

Warning (supported operators) operator: QUANTIZE, ofm: 'it's a name'
Reason: Operation has tensor with unsupported DataType Float32 (x)
Feature-map dataTypes must be one of {"INT16", "INT8"}

Network summary for model
Reason: this is none
"""


def test_reasons_of_vela_are_found_by_the_operators_output_with_all_their_lines() -> None:
    assert refusals(REPORT) == {
        "StatefulPartitionedCall:0": ("Unsupported opType",),
        "it's a name": (
            "Operation has tensor with unsupported DataType Float32 (x); "
            'Feature-map dataTypes must be one of {"INT16", "INT8"}',
        ),
    }
