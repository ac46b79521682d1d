"""How large the files of recurrent layers and of an attention become, against what `modelmill matrix` found of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import foresight
from pipeline import recipe as recipes
from pipeline.doctor.differences import FACTOR
from pipeline.matrix import rows, texts

# row -> artifact -> bytes of the file that was made
MADE = {
    "rnn_simple": {"prune.tflite.weight-int8": 12_298, "prune.tflite.dynamic-int4": 11_482, "prune.onnx.int8": 26_439},
    "rnn_gru": {"prune.tflite.int8": 62_634, "prune.onnx.int8": 86_854},
    "rnn_lstm_loop": {"prune.tflite.int8": 9_978},
    "text_transformer": {"prune.onnx.int8": 56_738, "prune.onnx.int8.ort": 64_634},
}


@pytest.mark.parametrize("name", MADE)
def test_size_of_a_file_is_foreseen_to_a_factor_when_its_graph_is_larger_than_its_weights(
    name: str, tmp_path: Path
) -> None:
    texts.write(tmp_path / rows.TEXTS)
    (row,) = rows.chosen([name])
    foreseen = foresight.foresee(rows.of_row(recipes.load("matrix"), row, tmp_path), {}, None)
    sizes = {file.id: file.bytes or 0 for file in foreseen.lines[0].files}
    for artifact, made in MADE[name].items():
        assert made / FACTOR <= sizes[artifact] <= FACTOR * made, artifact
