"""Which operators a delegate took, of the nodes that LiteRT tells."""

from __future__ import annotations

from typing import Any

from pipeline.formats.tflite.delegated import Delegated, of_nodes


def node(name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"op_name": name, "inputs": inputs, "outputs": outputs}


def test_what_a_piece_makes_of_its_inputs_is_taken_and_all_else_is_left() -> None:
    # QUANTIZE, FULLY_CONNECTED twice (the second also of what the first piece gives away), SOFTMAX, DEQUANTIZE
    nodes = [
        node("QUANTIZE", [0], [1]),
        node("FULLY_CONNECTED", [1, 2, -1], [3]),
        node("FULLY_CONNECTED", [3, 2, -1], [4]),
        node("SOFTMAX", [4], [5]),
        node("DEQUANTIZE", [5], [6]),
        node("DELEGATE", [0, 2], [3, 4]),
        node("DELEGATE", [5], [6]),
    ]
    assert of_nodes(nodes) == Delegated(operators=5, taken=4, partitions=2, left={"SOFTMAX": 1})


def test_nothing_is_taken_when_no_node_was_added() -> None:
    nodes = [node("WHILE", [0], [1]), node("WHILE", [1], [2]), node("ADD", [2, 2], [3])]
    assert of_nodes(nodes) == Delegated(operators=3, taken=0, partitions=0, left={"WHILE": 2, "ADD": 1})


def test_an_operator_that_gives_nothing_to_a_piece_is_left_though_it_reads_the_same() -> None:
    nodes = [node("MUL", [0, 1], [2]), node("CUMSUM", [0, 1], [3]), node("DELEGATE", [0, 1], [2])]
    assert of_nodes(nodes) == Delegated(operators=2, taken=1, partitions=1, left={"CUMSUM": 1})
