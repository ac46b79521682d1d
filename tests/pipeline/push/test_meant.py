"""What is pushed only by force: it would be served for nothing, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import GateError
from pipeline.push import meant
from pipeline.report.document import Artifact
from serving.publishing import Newest, local

FAKE_QUANT = Artifact(
    id="quantize.saved_model.fake-quant", stage="quantize", format="saved_model", precision="fake-quant"
)
FLOAT = Artifact(id="train.saved_model.float32", stage="train", format="saved_model", precision="float32")
LITE = Artifact(id="quantize.tflite.int8", stage="quantize", format="tflite", precision="int8")


def newest(base: Path, *files: str) -> Newest | None:
    for number in (9, 10):
        (base / str(number) / "variables").mkdir(parents=True)
    (base / "9/model.tflite").touch()
    for name in files:
        (base / "10" / name).touch()
    return local.newest(base)


def test_fake_quant_graph_is_refused() -> None:
    with pytest.raises(GateError, match=r"fake-quant is not to be served(.|\n)*imitates int8 in float(.|\n)*--force"):
        meant.require(FAKE_QUANT, None)


def test_tflite_is_refused_when_the_newest_version_is_a_saved_model(tmp_path: Path) -> None:
    found = newest(tmp_path, "saved_model.pb")
    with pytest.raises(GateError, match=rf"--prefer_tflite_model, which {tmp_path}/10 does not need"):
        meant.require(LITE, found)
    meant.require(FLOAT, found)


@pytest.mark.parametrize("files", [("model.tflite",), ("model.tflite", "saved_model.pb"), ()])
def test_tflite_is_let_pass_when_no_saved_model_alone_is_the_newest(files: tuple[str, ...], tmp_path: Path) -> None:
    meant.require(LITE, newest(tmp_path, *files))
    meant.require(LITE, local.newest(tmp_path / "nothing"))
