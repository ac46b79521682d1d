from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

import models
from pipeline import recipe as recipes
from pipeline import single_step
from pipeline.errors import InputError
from pipeline.formats.import_config import Config as ModelFile
from pipeline.plan import reference, to_serve
from pipeline.recipe_problems import configs
from pipeline.recipe_text import commented

# what the section model may be
KINDS = [*models.MODELS, "builder", "selection", "averaged", "file"]


@pytest.fixture
def digits() -> recipes.Recipe:
    return recipes.load("digits")


def message(source: str, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        recipes.load(source, overrides)
    return str(caught.value)


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", recipes.built_in())
def test_built_in_recipe_is_equal_after_dump_and_load(name: str, tmp_path: Path) -> None:
    recipe = recipes.load(name)
    assert recipes.load(written(tmp_path, recipes.dump(recipe))) == recipe
    assert recipe.name == name
    assert recipe.description


def test_sections_that_are_not_there_show_their_keys_as_comments() -> None:
    lines = commented(recipes.load("digits"), "digits").splitlines()
    start = lines.index("  table: null")
    assert lines[start + 1].startswith("  #   # column to predict: classes")
    for key in ("target: null", "missing: refuse", "max_categories: 100"):
        assert f"  #   {key}" in lines[start : start + 30]
    assert "  #   features: (needed)" in lines  # of TFRecord files


def test_commented_recipe_is_equal_after_load_and_explains_every_key(digits: recipes.Recipe, tmp_path: Path) -> None:
    text = commented(digits, "digits")
    assert recipes.load(written(tmp_path, text)) == digits
    lines = text.splitlines()
    keys = [i for i, line in enumerate(lines) if line.strip() and not line.strip().startswith("#")]
    bare = [lines[i] for i in keys if not lines[i - 1].strip().startswith("#")]
    assert bare == []


def test_every_key_of_every_section_has_a_meaning() -> None:
    bare, left, seen = [], [recipes.Recipe], set[type]()
    while left:
        one = left.pop()
        seen.add(one)
        assert one.__doc__
        for name, field in one.model_fields.items():
            inner = list(configs(field.annotation))
            left += [found for found in inner if found not in seen]
            # a section is what its type says; a tag is said by the key that chooses among types
            if not field.description and not inner and len(get_args(field.annotation)) != 1:
                bare.append(f"{one.__module__}.{name}")
    assert bare == []
    assert len(seen) > 50


def test_budget_of_excluding_is_as_much_as_fine_tuning_wins_back() -> None:
    sections = ["shrink={macs: 0.5}", "prune={}", "cluster={}", "quantize={}"]
    recipe = recipes.load("digits", sections)
    assert recipe.shrink and recipe.prune and recipe.cluster and recipe.quantize
    found = [one.exclude_budget for one in (recipe.shrink, recipe.prune, recipe.cluster, recipe.quantize)]
    assert found == [0.1, 0.1, 0.1, 0.01]


def test_dump_shows_every_default_and_absent_stages_as_null(digits: recipes.Recipe) -> None:
    document = yaml.safe_load(recipes.dump(recipes.load("digits", ["judge=null", "measure=null"])))
    assert document["measure"] is None
    assert document["export"]["deadline_s"] == digits.export.deadline_s  # type: ignore[union-attr]


def test_unknown_key_is_refused_with_its_path_and_the_nearest_name() -> None:
    assert "train.epoch: unknown key; did you mean train.epochs?" in message("digits", "train.epoch=3")


def test_unknown_key_of_a_tagged_section_is_refused_with_its_path_and_the_nearest_name() -> None:
    text = message("digits", "train.optimizer={name: adam, learning_rat: 0.1}")
    assert "train.optimizer.learning_rat: unknown key; did you mean train.optimizer.learning_rate?" in text


def test_key_of_another_architecture_is_refused_with_those_of_this_one() -> None:
    text = message("digits", "model={architecture: mlp, filters: [3]}")
    assert "model.filters: unknown key; known here: " in text
    assert "dense" in text
    assert "did you mean" not in text


def test_key_in_the_wrong_section_is_refused_with_the_right_one() -> None:
    assert "epochs: unknown key; did you mean train.epochs?" in message("digits", "epochs=3")


def test_unknown_choice_is_refused_with_the_choices_and_the_nearest() -> None:
    text = message("digits", "train.optimizer={name: adm}")
    assert "train.optimizer.name: expected one of" in text
    assert "found 'adm'; did you mean adam?" in text
    text = message("digits", "train.early_stopping.monitor=val_acuracy")
    assert "train.early_stopping.monitor: expected one of val_loss, val_accuracy" in text
    assert "found 'val_acuracy'; did you mean val_accuracy?" in text
    text = message("digits", "model.architecture=cnnn")
    kinds = ", ".join(KINDS)
    assert f"model.architecture: expected one of {kinds}, found 'cnnn'; did you mean cnn?" in text
    text = message("digits", "prune.on_regression=keep_bets")
    assert "prune.on_regression: expected one of stop, keep_best, continue, found 'keep_bets'" in text
    text = message("digits", "export.tflite=[float8]")
    assert (
        "export.tflite.0: expected one of float32, sparse-float32, float16, dynamic-int8, dynamic-int4, weight" in text
    )


def test_all_problems_are_told_at_once() -> None:
    text = message("digits", "train.epochs=-1", "seed=many", "export.tflite=[int8, int8]")
    assert "has 3 problems" in text
    assert "train.epochs: expected" in text
    assert "found -1" in text
    assert "seed: expected a valid integer" in text
    assert "export: tflite names a precision twice: int8, int8" in text


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("export=null", "judge needs the sections export and measure: limits are compared with measurements"),
        ("measure=null", "judge needs the sections export and measure: limits are compared with measurements"),
        ("judge.final=train.tflite.int4", "judge.final names 'train.tflite.int4', which is not exported; exported: "),
        ("export.tflite=[float32]", "onnx int8 is made from the int8 .tflite: add int8 to export.tflite"),
        ("export.strip_tflite=true", "onnx int8 is made from the int8 .tflite by the names of its tensors, which "),
        ("export.saved_model=[fake-quant]", "saved_model lacks float32: everything is compared with the first model's"),
        ("export.optional=[train.onnx.float16]", "optional names what is not exported: train.onnx.float16; exported: "
         "train.saved_model.float32, train.tflite.float32, train.onnx.float32, distill.saved_model.float32"),
        ("export={tflite: [int8], onnx: []}", "min_speedup of quantize.tflite.int8 needs another tflite artifact of "),
        ("export.stages=[prune]", "export asks for int8, which quantize makes, but export.stages leaves quantize out"),
        ("data.split.test=0.9", "data.split: "),
        ("serving.batching.max_batch_size=64", "measure.batch_size is 256, but a server with serving.batching."),
        ("serving.batching.max_batch_size=16", "measure.latency.batch_size is 32, but a server with "),
        ("serving.batching.max_batch_size=16", "export.warmup.batches has 32, but a server with serving.batching."),
        ("measure.also_threads=[2, 1]", "also_threads is [2, 1], but it holds each number once, and not 1, "),
        ("train=null", "train: expected a section, found nothing; an architecture has to be trained, a file has "),
    ],
)  # fmt: skip
def test_sections_that_do_not_fit_each_other_are_refused(override: str, expected: str) -> None:
    assert expected in message("digits", "judge.artifacts={}", override)


def test_stripped_file_is_refused_where_an_npu_is_asked_for() -> None:
    text = message("digits-micro", "export.strip_tflite=true", "export.onnx=[]")
    assert (
        "edge.npu tells by the names of tensors what runs on the NPU, and export.strip_tflite takes these out" in text
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("shrink={}", "shrink: expected exactly one of macs, parameters, latency, found none; for example macs: 0.5"),
        ("shrink={macs: 0.5, parameters: 0.5}",
         "shrink: expected exactly one of macs, parameters, latency, found macs and parameters; leave the others out, "
         "or set them to null"),
        ("shrink={macs: 1}", "shrink.macs: expected less than 1, found 1"),
        ("shrink={parameters: 0}", "shrink.parameters: expected greater than 0, found 0"),
        ("shrink={latency: {share: 1.5}}", "shrink.latency.share: expected less than 1, found 1.5"),
        ("shrink={latency: {share: 0.5, runtime: onnx}}",
         "shrink.latency.runtime: expected one of litert, onnxruntime, tensorflow, found 'onnx'"),
        ("shrink={macs: 0.5, importance: l3}",
         "shrink.importance: expected one of l1, l2, batch_norm, taylor, random, found 'l3'"),
        ("shrink={macs: 0.5, min_share: 1}", "shrink.min_share: expected less than 1, found 1"),
        ("shrink={macs: 0.5, layers: {stem: 1.5, conv_1: null}}",
         "shrink: layers wants shares between 0 and 1, or null, but has {'stem': 1.5}"),
        ("shrink={macs: 0.5, epochs: 3, steps: 4}", "shrink: steps (4) must be at most epochs (3)"),
        ("shrink={macs: 0.5, epochs: 5, steps: 2, schedule: {name: cosine, warmup_epochs: 2}}",
         "shrink: schedule.warmup_epochs must be less than the epochs of a step (2), but is 2"),
        ("shrink={macs: 0.5, epochs: 5, steps: 2, early_stopping: {from_epoch: 3}}",
         "shrink: early_stopping.from_epoch must be at most the epochs of a step (2), but is 3"),
        ("shrink={mac: 0.5}", "shrink.mac: unknown key; did you mean shrink.macs?"),
        ("shrink={macs: 0.5, max_accuracy_loss: 2}", "shrink.max_accuracy_loss is 2, but accuracy is at most 1"),
        ("prune.layers={conv_2: 1.5, logits: null}",
         "prune: layers wants shares between 0 and 1, or null, but has {'conv_2': 1.5}"),
        ("prune.layers={conv_2: 0}", "prune: layers wants shares between 0 and 1, or null, but has {'conv_2': 0.0}"),
        ("prune.final_sparsity=1", "prune.final_sparsity: expected less than 1, found 1"),
        ("prune={epochs: 20, pruning_schedule: {name: polynomial, end_epoch: 21}}",
         "prune: pruning_schedule must begin before it ends, within the epochs (20), but goes from 0 to 21"),
        ("prune={epochs: 20, pruning_schedule: {name: constant, begin_epoch: 15}}",
         "prune: pruning_schedule must begin before it ends, within the epochs (20), but goes from 15 to 13.3"),
        ("prune.pruning_schedule={name: constant, begin_epoch: 4, end_epoch: 4}", "but goes from 4 to 4"),
        ("prune={final_sparsity: 0.8, pruning_schedule: {name: polynomial, initial_sparsity: 0.9}}",
         "prune: pruning_schedule.initial_sparsity (0.9) is more than final_sparsity (0.8)"),
        ("prune.pruning_schedule={name: linear}",
         "prune.pruning_schedule.name: expected one of polynomial, constant, found 'linear'"),
        ("quantize={epochs: 10, freeze_ranges_epochs: 10}",
         "quantize: freeze_ranges_epochs must be less than epochs (10), but is 10: "
         "the ranges would never follow the training"),
        ("distill={}", "distill.student: expected a value, found nothing"),
        ("distill.teach=null", "distill.teach: expected a section with keys, found null"),
        ("quantize.exclude=foo", "quantize.exclude: expected a list or auto, found 'foo'; a list of one is [foo]"),
        ("prune.pattern={name: block, size: [4]}", "prune.pattern.size: expected 2 values, found [4]"),
        ("prune.pattern={name: block, size: []}", "prune.pattern.size: expected 2 values, found []"),
        ("prune.pattern={name: block, size: [1, 2, 3]}",
         "prune.pattern.size: expected at most 2 values, found [1, 2, 3]"),
        ("prune.pattern=2:4",
         "prune.pattern: expected a section with keys, found '2:4'; write {name: n-of-m, zeros: 2, of: 4}"),
        ("prune.pattern=1x4",
         "prune.pattern: expected a section with keys, found '1x4'; write {name: block, size: [1, 4]}"),
        ("prune.pattern=block", "found 'block'; write {name: block}"),
        ("prune.pattern=null", "found null; where nothing is said it is {name: unstructured}"),
        ("train.optimizer=adam",
         "train.optimizer: expected a section with keys, found 'adam'; write {name: adam}"),
        ("prune.final_sparsity=null", "prune.final_sparsity: expected a valid number, found null"),
        ("prune={final_sparsity: 0.8, pattern: {name: n-of-m}}",
         "but final_sparsity is 0.8: set prune.final_sparsity=0.5, or the pattern to block or to unstructured, which "
         "is none (prune.pattern={name: unstructured})"),
        ("sensitivity={techniques: []}", "sensitivity.techniques: expected at least 1 value, found []"),
        ("train.epochs=1:30", "train.epochs: expected a valid integer, found '1:30'"),
        ("distill.student={architecture: cnn, filters: [8, 8, 8, 8]}",
         "distill.student: distill.student.filters has too many blocks for the size of the images"),
        ("distill.student={architecture: cnn, filters: [8, 8], poolings: 3}",
         "distill.student.poolings is more than there are blocks; expected: at most 2, "),
        ("distill.student.filter=[8]", "distill.student.filter: unknown key; did you mean distill.student.filters?"),
        ("model={architecture: file}", "model.path: expected a value, found nothing"),
    ],
)  # fmt: skip
def test_section_of_a_stage_that_is_impossible_is_refused(override: str, expected: str) -> None:
    text = message("digits", override)
    assert "has a problem" in text
    assert expected in text


@pytest.mark.parametrize("form", ["saved_model", "tflite", "onnx"])
def test_precision_that_is_named_twice_is_refused(form: str) -> None:
    text = message("digits", "export.onnx=[]", f"export.{form}=[float32, float32]")
    assert f"export: {form} names a precision twice: float32, float32" in text


def test_limit_for_another_artifact_is_set_with_a_quoted_id() -> None:
    recipe = recipes.load("digits", ['judge.artifacts."quantize.onnx.int8".min_parity=0.5'])
    assert recipe.judge is not None
    assert recipe.judge.artifacts["quantize.onnx.int8"].min_parity == 0.5


IMPORTED = ("model={path: x.keras}", "train=null", "judge.artifacts={}")


def test_model_with_a_path_is_a_file_that_is_imported_and_not_trained() -> None:
    recipe = recipes.load("digits", IMPORTED)
    assert recipe.model == ModelFile(architecture="file", path="x.keras")
    assert recipe.stages() == ("import", "distill", "shrink", "prune", "quantize", "export", "measure")
    assert recipe.models() == ("import", "distill", "shrink", "prune", "quantize")
    assert recipe.plan()[0].id == "import.saved_model.float32"


def test_train_fine_tunes_a_model_with_a_path_and_the_file_stays_the_reference() -> None:
    recipe = recipes.load("digits", ("model={path: x.h5}", "judge.artifacts={}"))
    assert recipe.models() == ("import", "train", "distill", "shrink", "prune", "quantize")
    assert reference(recipe.plan()).id == "import.saved_model.float32"
    assert recipe.plan()[0].stage == "import"
    assert to_serve(recipe.plan()).stage == "prune"


def test_recipe_that_lets_code_of_a_model_file_run_needs_trust(tmp_path: Path) -> None:
    source = written(tmp_path, "name: x\ndata: {source: digits}\nmodel: {path: x.keras, allow_custom_code: true}\n")
    with pytest.raises(InputError) as caught:
        recipes.load(source)
    assert "found: model.allow_custom_code=True" in str(caught.value)
    assert "--trust" in str(caught.value)
    for recipe in (
        recipes.load(source, trusted=True),
        recipes.load("digits", [*IMPORTED, "model.allow_custom_code=true"]),
    ):
        assert isinstance(recipe.model, ModelFile)
        assert recipe.model.allow_custom_code
    assert not recipes.load("digits", IMPORTED).model.allow_custom_code


def test_permission_of_code_is_part_of_what_a_result_depends_on() -> None:
    assert ModelFile(path="a").decisive() == {"architecture": "file", "allow_custom_code": False}


def test_stage_is_there_when_its_section_is() -> None:
    sets = ["judge=null", "measure=null", "export=null"]
    sets.append("shrink.macs=0.5")
    assert recipes.load("digits", sets).stages() == ("train", "distill", "shrink", "prune", "quantize")
    for absent in ("distill", "shrink", "prune", "quantize"):
        sets.append(f"{absent}=null")
        assert absent not in recipes.load("digits", sets).stages()
    recipe = recipes.load("digits", sets)
    assert recipe.stages() == recipe.models() == ("train",)
    assert recipe.plan() == ()


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        IMPORTED,
        ["judge=null", "export=null"],
        ["distill.teachers=[a.keras, b.keras]", "distill.alone=false", "distill.student={architecture: mlp}"],
        ["prune.layers={'conv_*': 0.5, logits: null}", "prune.pruning_schedule={name: constant, end_epoch: 3.5}"],
        ["shrink={macs: 0.5, layers: {conv_1: null, 'conv_2*': 0.75}}", "shrink.teach={}", "shrink.multiple=null"],
        [
            "shrink.macs=null",
            "shrink.latency.share=0.6",
            "shrink.latency.precision=int8",
            "shrink.steps=3",
            "shrink.importance=taylor",
        ],
        ["prune.teach=null", "prune.on_regression=keep_best", "quantize.max_accuracy_loss=0.5", "quantize.teach=null"],
        ["export.stages=null", "export.optional=[quantize.onnx.int8]"],
    ],
)
def test_recipe_with_every_section_is_equal_after_dump_and_load(overrides: list[str], tmp_path: Path) -> None:
    recipe = recipes.load("digits", overrides)
    assert recipes.load(written(tmp_path, recipes.dump(recipe))) == recipe
    assert recipes.load(written(tmp_path, commented(recipe, "digits"))) == recipe


def test_schema_of_a_recipe_is_json_and_knows_every_section_and_kind_of_model() -> None:
    schema = json.loads(json.dumps(recipes.Recipe.model_json_schema()))
    assert set(schema["properties"]) == set(recipes.Recipe.model_fields)
    assert list(schema["properties"]["model"]["discriminator"]["mapping"]) == sorted(KINDS)
    for section in ("distill", "shrink", "prune", "quantize"):
        assert schema["properties"][section]["anyOf"][1] == {"type": "null"}
    inner = re.findall(r"#/\$defs/([^\"]+)", json.dumps(schema))
    assert set(inner) <= set(schema["$defs"])


@pytest.mark.parametrize("verb", single_step.VERBS)
def test_single_step_is_a_recipe_of_the_file_and_that_step(verb: str, tmp_path: Path) -> None:
    sets = ["distill.student={architecture: mlp}"] if verb == "distill" else []
    recipe = recipes.for_step(verb, Path("my model.keras"), "digits", sets)
    assert recipe.name == f"{verb}-my-model"
    assert recipe.model == ModelFile(path="my model.keras")
    wanted = {
        "distill": ("import", "distill", "measure"),
        "sensitivity": ("import", "sensitivity"),
        "shrink": ("import", "shrink", "measure"),
        "prune": ("import", "prune", "measure"),
        "cluster": ("import", "cluster", "measure"),
        "quantize": ("import", "quantize", "export", "measure"),
        "export": ("import", "export"),
        "validate": ("import", "export", "measure"),
        "doctor": ("import", "shrink", "prune", "cluster", "quantize", "export"),
    }
    assert recipe.stages() == wanted[verb]
    assert recipes.load(written(tmp_path, recipes.dump(recipe))) == recipe


@pytest.mark.parametrize(
    ("sets", "target"),
    [
        ([], ("macs", 0.5)),
        (["shrink.macs=0.3"], ("macs", 0.3)),
        (["shrink.parameters=0.4"], ("parameters", 0.4)),
        (["shrink.latency={share: 0.6}"], ("latency", 0.6)),
        (["shrink.latency.share=0.7"], ("latency", 0.7)),
    ],
)
def test_single_step_keeps_half_of_the_macs_unless_another_target_is_set(
    sets: list[str], target: tuple[str, float]
) -> None:
    shrink = recipes.for_step("shrink", Path("x.keras"), "digits", sets).shrink
    assert shrink is not None
    assert (shrink.what, shrink.share) == target


def test_model_that_shrank_is_the_last_float_one_and_is_exported_like_any_other() -> None:
    recipe = recipes.load("digits", ["shrink.macs=0.5", "prune=null"])
    assert to_serve(recipe.plan()).id == "shrink.saved_model.float32"
    listed = recipes.load("digits", ["shrink.macs=0.5", "export.stages=[shrink, quantize]", "judge.artifacts={}"])
    assert [item.id for item in listed.plan() if item.stage == "shrink"] == [
        "shrink.saved_model.float32", "shrink.tflite.float32", "shrink.onnx.float32",
    ]  # fmt: skip


def test_single_step_reads_arrays_of_the_users_own() -> None:
    assert recipes.for_step("prune", Path("x.keras"), "mine.npz").data.path == "mine.npz"
    with pytest.raises(InputError) as caught:
        recipes.for_step("prune", Path("x.keras"), "mnst")
    assert str(caught.value).startswith("--data mnst: no such data\n  expected: digits, iris, wine, ")
    assert "imdb, or the path of an .npz file" in str(caught.value)


@pytest.mark.parametrize("value", ["true", "yes", "'7'", "[3]", "2.5", "null"])
def test_what_is_no_whole_number_is_not_taken_for_one(value: str) -> None:
    assert "train.epochs: expected a valid integer" in message("digits", f"train.epochs={value}")


def test_number_with_an_exponent_and_no_dot_is_a_number() -> None:
    recipe = recipes.load("digits", ["train.optimizer.learning_rate=1e-3"])
    assert recipe.train.optimizer.learning_rate == 0.001


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.filters=[8, 8, 8, 8, 8]", "too many blocks"),
        ("data.augment.crop_pixels=8", "crop_pixels"),
    ],
)
def test_model_and_augmentation_that_do_not_fit_the_data_are_refused(override: str, words: str) -> None:
    assert words in message("digits", override)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (["data.task=regression", "quantize.class_weights=balanced"],
         "quantize.class_weights is for labels, which a regression has not: leave it out"),
        (["data.task=multilabel", "shrink={macs: 0.5, loss: mae}"],
         "shrink.loss is mae, which is for values, and a multilabel has labels: leave it out"),
        (["data.task=multilabel", "distill.loss=mae"],
         "distill.loss is mae, which is for values, and a multilabel has labels: leave it out"),
        (["data.task=classification", "train.loss=huber"], "train.loss is huber, which is for values"),
        (["train.class_weights=balance"],
         "train.class_weights: expected balanced or a section with keys, found 'balance'; did you mean balanced?"),
        (["train.class_weights={a: 0}"], "train.class_weights.a: expected greater than 0, found 0"),
        (["data.anomaly=[a]"], "data: anomaly names classes for the task anomaly, but task is null"),
        (["data.task=anomaly", "data.anomaly=[a]"], "model.architecture 'cnn' is not for this task"),
    ],
)  # fmt: skip
def test_keys_of_another_task_are_refused(override: list[str], expected: str) -> None:
    assert expected in message("digits", *override)


def test_weights_of_classes_are_dumped_as_they_were_given(tmp_path: Path) -> None:
    recipe = recipes.load("digits", ["train.class_weights={0: 2, 9: 0.5}", "prune.class_weights=balanced"])
    assert recipe.train is not None
    assert recipe.train.class_weights == {"0": 2.0, "9": 0.5}
    assert recipes.load(written(tmp_path, recipes.dump(recipe))) == recipe


def test_limit_on_p99_is_refused_when_the_blocks_are_too_short_for_it() -> None:
    text = message("digits", "judge.gates.max_p99_ms=5", "measure.latency.percentile=0.9")
    assert "max_p99_ms of quantize.tflite.int8 needs measure.latency.percentile of at least 0.99, but it is 0.9" in text


@pytest.mark.parametrize("assignment", ["train.epochs", "=3", "train..epochs=3", ""])
def test_set_that_is_no_assignment_is_refused_with_an_example(assignment: str) -> None:
    text = message("digits", assignment)
    assert "is not an assignment" in text
    assert "--set train.epochs=5" in text


def test_set_below_a_plain_value_is_refused() -> None:
    assert "--set seed.value: seed has no keys of its own" in message("digits", "seed.value=1")


def test_missing_recipe_is_refused_with_the_nearest_name() -> None:
    text = message("digit")
    assert "there is no recipe 'digit'" in text
    assert "did you mean digits?" in text


@pytest.mark.parametrize(
    ("override", "key"),
    [("sensitivity={techniques: [prun]}", "techniques"), ("sensitivity={prune: [1.5]}", "prune"),
     ("quantize.exclude=foo", "quantize.exclude"), ("prune.pattern={name: block, size: []}", "size")],
)  # fmt: skip
def test_key_that_is_wrong_in_one_way_is_one_problem(override: str, key: str) -> None:
    text = message("digits", override)
    assert "has a problem:" in text
    assert text.count(key) == 1
    assert "after validation" not in text


def test_sparsity_that_is_null_is_the_patterns() -> None:
    found = recipes.load("digits", ["prune={final_sparsity: null, pattern: {name: n-of-m, zeros: 1}}"])
    assert found.prune is not None
    assert found.prune.final_sparsity == 0.25


def test_digits_with_a_colon_between_are_no_number_to_the_base_of_60() -> None:
    assert recipes.parse("a: 2:4\nb: 1:30.5\nc: 12\nd: 1.5\n", "x") == {"a": "2:4", "b": "1:30.5", "c": 12, "d": 1.5}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "found: nothing"),
        ("- a\n- b\n", "found: a list"),
        ("a: [1", "YAML error at line 1, column 6"),
        ("a: [1", "what to do: correct it at line 1, column 6; `modelmill init` writes a recipe to compare with"),
        ("name: a\nname: b\n", "the key 'name' is there twice"),
        ("name: !!python/object/apply:os.system [true]\n", "YAML error at line 1"),
        ("name: x\n", "data: expected a value, found nothing"),
        ("a: &a [*a]\n", "found: Circular reference detected"),
        ("? [1, 2]\n: 3\n", "found unhashable key"),
    ],
)
def test_file_that_is_no_recipe_is_refused_with_what_was_found(text: str, expected: str, tmp_path: Path) -> None:
    assert expected in message(written(tmp_path, text))


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    text = message(str(path))
    assert "expected: UTF-8 text" in text
    assert "what to do: name a recipe: `modelmill init` writes one" in text
    assert "a model file goes into one as model.path" in text


def test_number_that_is_not_finite_is_refused() -> None:
    assert "judge.gates.max_p99_ms" in message("digits", "judge.gates.max_p99_ms=.inf")


@pytest.mark.parametrize(
    ("serving", "found"),
    [
        ({"binary": "./evil.sh"}, "serving.binary=./evil.sh"),
        ({"image": "stranger/serving:1"}, "serving.image=stranger/serving:1"),
        ({"image": "tensorflow/serving.evil:1"}, "serving.image=tensorflow/serving.evil:1"),
        ({"flags": ["--ssl_config_file=/etc/x"]}, "serving.flags=['--ssl_config_file=/etc/x']"),
        (
            {"target": "remote", "remote": {"addresses": ["http://127.0.0.1.evil.example:80", "grpc://localhost:1"]}},
            "serving.remote.addresses=http://127.0.0.1.evil.example:80",
        ),
    ],
)
def test_file_that_names_a_program_or_a_host_is_refused_until_the_user_trusts_it(
    tmp_path: Path, serving: dict[str, object], found: str
) -> None:
    path = tmp_path / "stranger.yaml"
    document = yaml.safe_load(recipes.dump(recipes.load("digits"))) | {"serving": serving}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        recipes.load(str(path))
    assert caught.value.what.startswith(f"the recipe {path} would run code of its author's choice, or send your data")
    assert caught.value.found == found
    assert "--trust" in caught.value.todo
    trusted = recipes.load(str(path), trusted=True).serving
    assert trusted is not None
    assert trusted.model_dump(mode="json", exclude_defaults=True) == serving


@pytest.mark.parametrize(
    ("key", "choice", "found"),
    [
        ("model", {"builder": "evil.py:build"}, "model.builder=evil.py:build"),
        ("model.builder", "evil.py:build", "model.builder=evil.py:build"),
        ('"model".builder', "evil.py:build", "model.builder=evil.py:build"),
        ("model={builder: evil.py:build} #", 1, "model.builder=evil.py:build"),
        ("model.allow_custom_code", True, "model.allow_custom_code=True"),
        ("distill.student", {"builder": "evil.py:build"}, "distill.student.builder=evil.py:build"),
        ("data.builder", "evil.py:read", "data.builder=evil.py:read"),
        ("serving.binary", "/tmp/evil.sh", "serving.binary=/tmp/evil.sh"),
        ("serving", {"flags": ["--ssl_config_file=/etc/x"]}, "serving.flags=['--ssl_config_file=/etc/x']"),
        ("serving.remote.addresses", ["grpc://evil.example:1"], "serving.remote.addresses=grpc://evil.example:1"),
    ],
)
def test_file_whose_search_space_names_code_or_a_host_is_refused_until_the_user_trusts_it(
    tmp_path: Path, key: str, choice: object, found: str
) -> None:
    path = tmp_path / "stranger.yaml"
    document = yaml.safe_load(recipes.dump(recipes.load("digits-mlp")))
    space = {"train.epochs": {"low": 1, "high": 3}, "prune": [None], key: [None, choice]}
    path.write_text(yaml.safe_dump(document | {"serving": None, "tune": {"space": space}}), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        recipes.load(str(path), ["tune.trials=3"])
    assert caught.value.what.startswith(f"the recipe {path} would run code of its author's choice, or send your data")
    assert caught.value.found == f"{found} (tried in tune.space)"
    assert recipes.load(str(path), trusted=True).tune is not None
    # what the user says needs no trust, and takes the place of the file's
    assert recipes.load("digits-mlp", [f"tune.space={json.dumps({key: [None, choice]})}"]).tune is not None


@pytest.mark.parametrize("tune", [None, 3, {"space": None}, {"space": 3}, {"space": {"a=b.": [1], "x": {"low": 1}}}])
def test_search_space_that_is_none_says_nothing_of_risks(tune: object) -> None:
    assert recipes.risks({"tune": tune}) == []


def test_server_on_this_machine_needs_no_trust(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    document = yaml.safe_load(recipes.dump(recipes.load("digits")))
    serving = {"target": "remote", "remote": {"addresses": ["grpc://localhost:8500", "http://[::1]:8501/prefix"]}}
    path.write_text(yaml.safe_dump(document | {"serving": serving}), encoding="utf-8")
    assert recipes.load(str(path)).serving is not None


def test_official_images_and_the_users_own_words_need_no_trust(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    document = yaml.safe_load(recipes.dump(recipes.load("digits")))
    path.write_text(yaml.safe_dump(document | {"serving": {"image": "tensorflow/serving:2.19.1"}}), encoding="utf-8")
    assert recipes.load(str(path), ["serving.binary=./mine"]).serving is not None


def test_model_file_without_a_recipe_means_the_recipe_for_models_of_the_users_own(tmp_path: Path) -> None:
    assert recipes.load(None) == recipes.load("digits")
    found = recipes.load(None, ["model.path=my cat.keras", "data.source=wine"])
    assert (found.name, found.model) == ("my-cat", ModelFile(path="my cat.keras"))
    assert found.stages() == ("import", "prune", "quantize", "export", "measure")
    assert recipes.load(None, ["model.path=x.h5", "name=mine"]).name == "mine"
    (tmp_path / "graph").mkdir()
    (tmp_path / "graph" / "saved_model.pb").write_bytes(b"")
    plain = recipes.load(None, [f"model.path={tmp_path / 'graph'}"])
    assert plain.stages() == ("import", "export", "measure")
    assert "graph without layers" in plain.description


def test_model_file_takes_the_place_of_an_architecture_and_the_other_way_round() -> None:
    found = recipes.load("digits-mlp", ["model.path=x.keras"])
    assert found.model == ModelFile(path="x.keras")
    found = recipes.load("own-model", ["model.architecture=mlp", "model.dense=[8]", "train={epochs: 2}"])
    assert found.model.architecture == "mlp"
    assert recipes.load("digits", ["model.architecture=cnn"]) == recipes.load("digits")


def test_order_of_assignments_to_a_model_is_of_no_matter() -> None:
    sets = ["model.allow_custom_code=true", "model.path=x.keras"]
    found = recipes.load("digits-mlp", sets)
    assert found.model == ModelFile(path="x.keras", allow_custom_code=True)
    assert found == recipes.load("digits-mlp", sets[::-1])
    sets = ["model.dense=[8]", "model.architecture=mlp", "train={epochs: 2}"]
    assert recipes.load("own-model", sets) == recipes.load("own-model", sets[::-1])
    # but the last that chooses a model does, and what is set as a whole leaves nothing of what was set before
    assert recipes.load("digits-mlp", ["model.path=x.keras", "model.architecture=cnn"]).model.architecture == "cnn"
    whole = ["model.dense=[7]", "model={architecture: mlp}", "model.path=x.keras"]
    assert recipes.load("digits-mlp", whole).model == ModelFile(path="x.keras")


def test_single_step_reads_a_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    found = recipes.single_step.document("quantize", Path("x.keras"), str(tmp_path / "photos"))
    assert found["data"] == {"source": "image_folder", "path": str(tmp_path / "photos")}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.metric=f2"], "data: metric: there is no metric 'f2'; there are accuracy, balanced_accuracy,"),
        (["data.metric=f1.x", "data.source=npz", "data.path=p.npz", "data.classes=[a, b]"],
         "data: metric: 'f1.x' is of the class x, and there are a, b"),
        (["data.task=reconstruction", "data.metric=accuracy"], "'accuracy' is no metric of a reconstruction"),
        (["prune.max_accuracy_loss=2"], "prune.max_accuracy_loss is 2, but accuracy is at most 1: 0.01 is one point"),
        (["data.metric=f1", "judge.gates.max_accuracy_drop=-3"],
         "judge.gates.max_accuracy_drop is -3, but F1 is at most 1"),
    ],
)  # fmt: skip
def test_metric_that_cannot_be_is_refused_with_what_there_is(overrides: list[str], said: str) -> None:
    assert said in message("digits", *overrides)


def test_bounds_of_an_error_are_in_its_own_unit() -> None:
    overrides = ["data.metric=log_loss", "prune.max_accuracy_loss=3", "judge.gates.max_accuracy_drop=4"]
    assert recipes.load("digits", overrides).data.metric == "log_loss"


def test_bounds_are_told_in_what_the_task_is_judged_by() -> None:
    none = ["model={architecture: mlp}", "distill=null", "prune.max_accuracy_loss=3"]
    assert "prune.max_accuracy_loss is 3, but accuracy is at most 1" in message("digits", "prune.max_accuracy_loss=3")
    many = ["data={source: npz, path: x.npz, task: multilabel}", *none]
    assert "prune.max_accuracy_loss is 3, but F1 is at most 1" in message("digits", *many)
    # R2 has no least value, so that it may fall by more than 1
    values = recipes.load("digits", ["data={source: diabetes}", *none])
    assert values.prune
    assert values.prune.max_accuracy_loss == 3


@pytest.mark.parametrize(
    ("assignment", "xla", "steps"),
    [
        ("performance=auto", "auto", "auto"),
        ("performance=off", "off", 1),
        ("performance.xla=on", "on", "auto"),
        ("performance.xla=off", "off", "auto"),
        ("performance.steps_per_execution=8", "auto", 8),
    ],
)
def test_performance_is_a_word_or_a_section(assignment: str, xla: str, steps: int | str) -> None:
    found = recipes.load("digits", [assignment])
    assert (found.performance.xla, found.performance.steps_per_execution) == (xla, steps)
    assert recipes.check(recipes.parse(recipes.dump(found), "dumped"), "dumped") == found


def test_performance_that_is_neither_word_nor_section_is_refused() -> None:
    with pytest.raises(InputError, match="performance: expected a section with keys, found 'fast'"):
        recipes.load("digits", ["performance=fast"])


def test_tflite_that_is_to_be_served_has_to_be_exported() -> None:
    with pytest.raises(InputError) as caught:
        recipes.load("digits", ("serving.tflite=[int8,float16]",))
    assert "serving.tflite names float16, but exported is float32, int8: add it to export.tflite" in str(caught.value)
    recipes.load("digits", ("serving.tflite=[float32]",))
    recipes.load("digits", ("export.tflite=[]", "export.onnx=[]"))  # what is not named is served where it is there
