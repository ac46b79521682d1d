"""What goes into models of any origin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.bench import samples
from pipeline.errors import InputError
from pipeline.signature import STRING, End, Signature

IMAGE = Signature((End("image", "float32", (None, 8, 8, 1)),), ())


def test_random_values_are_the_same_for_the_same_seed_and_fit_their_types() -> None:
    several = Signature(
        (End("ids", "int32", (None, 5)), End("pixels", "uint8", (None, 2)), End("on", "bool", (None,)),
         End("x", "float16", (None, 3))), (),
    )  # fmt: skip
    given = samples.random(several, {}, 7)
    assert isinstance(given.samples, dict)
    assert {name: (one.dtype.name, one.shape[1:]) for name, one in given.samples.items()} == {
        "ids": ("int32", (5,)), "pixels": ("uint8", (2,)), "on": ("bool", ()), "x": ("float16", (3,)),
    }  # fmt: skip
    assert set(np.unique(given.samples["ids"])) == {0, 1}  # ids that every vocabulary has
    assert given.samples["pixels"].max() > 200
    assert "random values" in given.said
    again, other = samples.random(several, {}, 7).samples, samples.random(several, {}, 8).samples
    assert isinstance(again, dict)
    assert isinstance(other, dict)
    assert np.array_equal(again["x"], given.samples["x"])
    assert not np.array_equal(other["x"], given.samples["x"])


def test_model_with_one_input_gets_a_bare_array() -> None:
    given = samples.random(IMAGE, {}, 0).samples
    assert isinstance(given, np.ndarray)
    assert given.shape[1:] == (8, 8, 1)


def test_large_samples_are_few() -> None:
    huge = Signature((End("x", "float32", (None, 2000, 2000)),), ())
    assert len(samples.random(huge, {}, 0).samples) == 4


def test_unknown_dimension_needs_a_shape_and_says_so() -> None:
    open_sided = Signature((End("input", "float32", (None, None, None, 3)),), ())
    with pytest.raises(InputError) as caught:
        samples.random(open_sided, {}, 0)
    assert caught.value.found == "input float32 [?, ?, ?, 3]"
    assert "--shape input=1,..., or --data" in caught.value.todo
    found = samples.random(open_sided, {"input": (1, 16, 8, 3)}, 0).samples
    assert isinstance(found, np.ndarray)
    assert found.shape[1:] == (16, 8, 3)


def test_shape_that_the_model_does_not_take_is_refused() -> None:
    with pytest.raises(InputError, match="is not what the model takes"):
        samples.random(IMAGE, {"image": (1, 8, 9, 1)}, 0)


def test_strings_need_data() -> None:
    texts = Signature((End("text", STRING, (None,)),), ())
    with pytest.raises(InputError, match="takes strings"):
        samples.random(texts, {}, 0)


def test_model_without_a_common_batch_gets_whole_inputs() -> None:
    whole = Signature((End("image", "float32", (1, 4)), End("threshold", "float32", ())), ())
    assert whole.batch == 0
    given = samples.random(whole, {}, 0).samples
    assert isinstance(given, dict)
    assert given["image"].shape[1:] == (1, 4)
    assert given["threshold"].ndim == 1


def test_data_set_gives_its_test_split() -> None:
    given = samples.of_data("digits", IMAGE, {})
    assert isinstance(given.samples, np.ndarray)
    assert given.samples.shape[1:] == (8, 8, 1)
    assert given.said.startswith("digits, test split (")


def test_numbers_for_a_quantized_input_are_quantized() -> None:
    quantized = Signature((End("image", "int8", (None, 8, 8, 1), (1 / 16, -128)),), ())
    given = samples.of_data("digits", quantized, {}).samples
    assert isinstance(given, np.ndarray)
    assert given.dtype == np.int8
    assert (given.min(), given.max()) == (-128, 127)


def test_arrays_of_a_file_go_in_by_the_names_of_the_inputs(tmp_path: Path) -> None:
    two = Signature((End("a", "int64", (None, 2)), End("b", STRING, (None,))), ())
    np.savez(tmp_path / "s.npz", a=np.ones((3, 2)), b=np.array(["x", "y", "z"]), c=np.zeros(1))
    given = samples.of_data(str(tmp_path / "s.npz"), two, {})
    assert isinstance(given.samples, dict)
    assert given.samples["a"].dtype == np.int64
    assert list(given.samples["b"]) == ["x", "y", "z"]


def test_data_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        samples.of_data("digits", Signature((End("image", "float32", (None, 28, 28)),), ()), {})
    assert "--data digits is not for this model" in caught.value.what
    assert caught.value.expected == "image float32 [?, 28, 28]"
