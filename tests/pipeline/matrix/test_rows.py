"""What the built-in matrix asks for: every architecture, in everything that export can make."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from models import MODELS
from pipeline import data
from pipeline import recipe as recipes
from pipeline.doctor import subjects
from pipeline.errors import InputError
from pipeline.formats import by_layer, export_config, precisions
from pipeline.matrix import cells, rows, texts

BASE = recipes.load("matrix")


def planned(name: str, folder: Path) -> recipes.Recipe:
    (row,) = rows.chosen([name])
    return rows.of_row(BASE, row, folder)


def test_every_architecture_has_a_row() -> None:
    assert {row.architecture for row in rows.ROWS} == set(MODELS)
    assert len({row.name for row in rows.ROWS}) == len(rows.ROWS)


def test_every_kind_of_recurrent_cell_has_a_row_and_so_have_loops() -> None:
    recurrent = [row for row in rows.ROWS if row.architecture == "rnn"]
    assert {row.model["cell"] for row in recurrent} == set(
        get_args(MODELS["rnn"].Config.model_fields["cell"].annotation)
    )
    assert any(row.model.get("bidirectional") for row in recurrent)
    assert {row.model["cell"] for row in recurrent if row.changes} == {"lstm", "gru"}


def test_every_precision_and_format_is_asked_for_once_trained_and_once_after_training(tmp_path: Path) -> None:
    texts.write(tmp_path / rows.TEXTS)
    formats = export_config.Config.model_fields["saved_model"].annotation
    saved = get_args(get_args(formats)[0])
    wanted = {("saved_model", name, None) for name in saved}
    int8 = [("tflite", "int8"), ("tflite", "int8.int8-ends"), ("tflite", "int8.uint8-ends"), ("onnx", "int8")]
    wanted |= {("tflite", name, None) for name in precisions.TFLITE if name != "int8"}
    wanted |= {("onnx", name, None) for name in (*precisions.ONNX, f"int8.{precisions.ORT}") if name != "int8"}
    wanted |= {(*entry, learned) for entry in int8 for learned in (True, False)}
    for row in rows.ROWS:
        found = cells.columns([rows.of_row(BASE, row, tmp_path)])
        assert {(one.format, one.entry, one.learned) for one in found} == wanted, row.name
        assert len(found) == len(wanted)


def test_layers_of_a_mixed_file_are_the_rows_own_where_the_recipe_asks_for_one(tmp_path: Path) -> None:
    (row,) = rows.chosen(["ds_cnn"])
    own = recipes.load("matrix", ["export.mixed={'conv_1': weight-int8}"])
    found = rows.of_row(own, row, tmp_path).export
    assert found is not None
    assert found.mixed == row.mixed == {"*": "dynamic-int4", "*_depthwise": "dynamic-int8"}
    none = rows.of_row(recipes.load("matrix", ["export={tflite: [float32], onnx: []}"]), row, tmp_path).export
    assert none is not None
    assert none.mixed == {}


@pytest.mark.parametrize("row", rows.ROWS, ids=lambda row: row.name)
def test_mixed_file_of_a_row_asks_only_for_what_its_layers_can_be(row: rows.Row, tmp_path: Path) -> None:
    texts.write(tmp_path / rows.TEXTS)
    recipe = rows.of_row(BASE, row, tmp_path)
    assert recipe.export is not None
    ((subject, *_), _) = subjects.of(recipe, {}, None, lambda _: None)
    wanted = by_layer.precisions(subject.model, recipe.export.mixed)
    assert by_layer.left_float(subject.model, wanted, unrolled=recipe.export.unrolled_steps > 0) == {}
    assert len(set(wanted.values())) > 1


def test_file_that_fails_fails_no_run_but_for_the_reference(tmp_path: Path) -> None:
    found = planned("mlp", tmp_path)
    assert found.export is not None
    reference, *others = (item.id for item in found.plan())
    assert reference == "train.saved_model.float32"
    assert set(found.export.optional) == set(others)


def test_what_names_another_model_is_left_out_of_a_recipe_of_ones_own(tmp_path: Path) -> None:
    (row,) = rows.chosen(["resnet"])
    found = rows.of_row(recipes.load("digits", ["prune.layers={}"]), row, tmp_path)
    assert (found.name, found.distill, found.judge, found.tune) == ("resnet", None, None, None)
    assert found.model.architecture == "resnet"


def test_text_architecture_reads_the_digits_as_texts(tmp_path: Path) -> None:
    texts.write(tmp_path / rows.TEXTS)
    for name in ("text_rnn", "text_transformer"):
        found = planned(name, tmp_path).data
        assert (found.source, found.path) == ("text", str(tmp_path / rows.TEXTS))


def test_architecture_that_does_not_fit_the_data_is_refused_with_what_would(tmp_path: Path) -> None:
    (row,) = rows.chosen(["text_rnn"])
    found = rows.planned(recipes.load("matrix", ["data.source=iris"]), row, tmp_path)
    assert isinstance(found, InputError)
    assert "'text_rnn' takes texts" in str(found)
    (row,) = rows.chosen(["autoencoder"])
    assert isinstance(rows.planned(recipes.load("matrix", ["data.source=iris"]), row, tmp_path), InputError)


def test_names_choose_architectures_and_rows() -> None:
    assert [row.name for row in rows.chosen(["cnn", "rnn_gru"])] == ["cnn", "rnn_gru"]
    assert {row.architecture for row in rows.chosen(["mobilenet"])} == {"mobilenet"}
    assert len(rows.chosen(["mobilenet"])) == 2
    assert rows.chosen() == rows.ROWS
    with pytest.raises(InputError, match=r"--architecture rnn_gur: there is none(.|\n)*did you mean rnn_gru\?"):
        rows.chosen(["rnn_gur"])


def test_recipe_without_files_is_refused() -> None:
    with pytest.raises(InputError, match=r"the recipe matrix has no section export(.|\n)*init my.yaml --recipe"):
        rows.require_exported(recipes.load("matrix", ["export=null", "measure=null"]))


def test_digit_is_a_word_for_each_half_row() -> None:
    pixels = [0, 7, 8, 16] + [16] * 4 + [0] * 56
    assert texts.text(pixels).split() == ["a0011", "b1111", *(f"{letter}0000" for letter in "cdefghijklmnop")]


def test_digits_as_texts_are_as_many_as_the_images_and_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("a.tsv", "b.tsv"):
        texts.write(tmp_path / name)
    written = (tmp_path / "a.tsv").read_bytes()
    assert written == (tmp_path / "b.tsv").read_bytes()
    images, split = data.load(BASE.data), BASE.data.split.model_dump(mode="json")
    section = texts.section(tmp_path / "a.tsv", split, 0)
    read = data.load(data.DataConfig.model_validate(section))
    assert len(read.test) == len(images.test)
    assert read.spec.input.shape == (texts.LENGTH,)
    assert read.spec.head.classes == images.spec.head.classes
