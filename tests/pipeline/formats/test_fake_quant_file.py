from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.compress import fake_quant
from pipeline.formats import fake_quant_file, keras_file
from tests.pipeline.compress import tiny


def test_quantization_aware_model_answers_bit_for_bit_as_before_when_it_is_read_back(tmp_path: Path) -> None:
    model = tiny.cnn()
    built = fake_quant.build(model)
    fake_quant.calibrate(built, model, tiny.SPLITS.calibration.x)
    tiny.tune(built, tmp_path / "work")
    plain = fake_quant.plain(built, model)
    keras_file.write(plain, tiny.SPEC, tmp_path / "entry")
    fake_quant_file.write(built, tmp_path / "entry")
    found, spec = fake_quant_file.read(tmp_path / "entry")
    assert spec == tiny.SPEC
    assert np.array_equal(tiny.answers(found), tiny.answers(built))
    assert fake_quant.ranges(found) == fake_quant.ranges(built)
    without, _ = keras_file.read(tmp_path / "entry")
    assert np.array_equal(tiny.answers(without), tiny.answers(plain))
    assert not np.array_equal(tiny.answers(without), tiny.answers(found))
