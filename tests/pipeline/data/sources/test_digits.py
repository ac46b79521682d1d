from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline import data
from pipeline.data import DataConfig, Splits
from pipeline.data.divide import divide
from pipeline.data.sources import digits
from pipeline.data.sources.source import Source, Target
from pipeline.data.split import NAMES
from pipeline.errors import InputError, MissingError
from tests.pipeline.data.sources.preparing import no_need


@pytest.fixture(scope="module")
def splits() -> Splits:
    return data.load(DataConfig())


def test_digits_have_raw_pixels_ten_classes_and_default_sizes(splits: Splits) -> None:
    assert splits.spec.input.name == "image"
    assert splits.spec.input.shape == (8, 8, 1) == data.input_shapes(DataConfig())["image"]
    assert splits.spec.head.classes == tuple("0123456789")
    assert [len(getattr(splits, name).y) for name in NAMES] == [1078, 270, 90, 359]
    assert splits.train.x.dtype == np.float32
    assert splits.train.y.dtype == np.int64
    assert (splits.train.x.min(), splits.train.x.max()) == (0, 16)


def test_no_digit_is_in_two_splits() -> None:
    from pipeline.data.split import split

    parts = split(digits.load(DataConfig(), no_need).targets[""].y, DataConfig().split.shares(), 0)
    assert len(np.unique(np.concatenate(list(parts.values())))) == 1797


def test_inferred_range_is_said(splits: Splits) -> None:
    assert splits.spec.input.value_range == (0, 16)
    assert splits.notes == ("data.value_range is not given: 0..16 is taken, the training split's range",)


def test_range_of_the_recipe_is_taken_without_a_note() -> None:
    splits = data.load(DataConfig(value_range=(0, 20)))
    assert splits.spec.input.value_range == (0, 20)
    assert splits.notes == ()


def test_range_of_the_recipe_is_doubted_when_values_lie_outside() -> None:
    note = "data.value_range is 0..1, but training values reach 0..16"
    assert data.load(DataConfig(value_range=(0, 1))).notes == (note,)


def test_range_is_refused_when_it_has_no_width() -> None:
    with pytest.raises(ValidationError, match=r"lowest < highest, but is \[5, 5\]"):
        DataConfig(value_range=(5, 5))


def _source(x: np.ndarray) -> Source:
    return Source({"image": x}, {"": Target(np.arange(len(x)) % 2, ("a", "b"))}, given={"test": np.arange(90, 100)})


def test_range_of_bytes_is_0_to_255() -> None:
    splits = divide(_source(np.full((100, 2, 2, 1), 7, np.uint8)), DataConfig())
    assert splits.spec.input.value_range == (0, 255)
    assert splits.notes == ("data.value_range is not given: 0..255 is taken, because the values are uint8",)
    assert len(splits.test.y) == 10


def test_range_is_not_inferred_when_all_values_are_equal() -> None:
    with pytest.raises(InputError, match="cannot be inferred") as refused:
        divide(_source(np.full((100, 2), 7.0)), DataConfig())
    assert refused.value.found == "the value 7 everywhere"


def test_values_that_are_not_finite_are_refused_with_their_split() -> None:
    x = np.random.default_rng(0).random((100, 2))
    x[95, 1] = np.nan
    with pytest.raises(InputError, match="not finite") as refused:
        divide(_source(x), DataConfig())
    assert refused.value.found == "1 such values in the test split"


def test_content_hash_is_that_of_the_file_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pipeline import data; print(data.content_hash(data.DataConfig())); "
        "sys.exit(bool({'sklearn', 'numpy', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(digits.files(DataConfig())[0].read_bytes()).hexdigest()


def test_digits_are_missing_with_advice_when_scikit_learn_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingError, match="part of scikit-learn") as missing:
        digits.files(DataConfig())
    assert (missing.value.found, missing.value.todo) == ("no scikit-learn", "pip install scikit-learn")


def test_data_config_survives_a_round_trip() -> None:
    config = DataConfig(split_seed=3, value_range=(0, 9), augment={"flip": "both"}, shuffle_buffer=7)
    assert DataConfig.model_validate(config.model_dump(mode="json")) == config
