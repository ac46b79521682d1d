"""What the page says in words and tables: the verdict, the three answers, confusion, commands, bounded lists."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.report import commands, confusion, headline, layers, page, words
from pipeline.report.answers import Answers, SplitAnswers
from pipeline.report.document import Explained, Report
from tests.pipeline.report import shapes
from tests.pipeline.report.test_page import terminal


def answers(report: Report) -> dict[str, tuple[str, str, str]]:
    return {one.question: (one.figure, one.word, one.said) for one in headline.answers(report)}


def test_three_answers_are_those_of_the_final_artifact() -> None:
    assert answers(shapes.whole()) == {
        "Smaller?": ("47x", "yes", "smaller"),
        "Faster?": ("2.0x", "yes", "faster"),
        "Still right?": ("98.3 %", "open", "less accurate, within the limit"),
    }
    details = [detail for one in headline.answers(shapes.whole()) for detail in one.details]
    assert details == [
        "5.3 kB gzipped", "from 250.0 kB",
        "95 % 1.80 to 2.20, in LiteRT", "p50 0.033 ms, against train.tflite.float32",
        "right on the test split, 95 % 97.7 to 98.9", "from 99.0 %: -0.7 points, 95 % -1.1 to -0.3",
    ]  # fmt: skip


def test_lost_accuracy_is_a_no_when_no_limit_allows_it() -> None:
    assert answers(shapes.failed())["Still right?"] == ("98.3 %", "no", "accuracy is lost")


@pytest.mark.parametrize(
    ("drop", "answer"),
    [
        ((0.0, -0.01, 0.01), ("yes", "no loss found")),
        ((0.002, -0.001, 0.004), ("open", "a little less, which may be chance")),
        ((0.002, 0.001, 0.004), ("no", "accuracy is lost")),
        ((-0.002, -0.004, -0.001), ("yes", "more accurate")),
    ],
)
def test_still_right_is_said_of_the_drops_interval(drop: tuple[float, float, float], answer: tuple[str, str]) -> None:
    value, low, high = drop
    found = shapes.model("x", None, 4, metrics={"accuracy_drop": {"value": value, "low": low, "high": high}})
    report = shapes.one_step()
    report.models[-1] = found.model_copy(update={"metrics": report.models[-1].metrics | found.metrics})
    assert answers(report)["Still right?"][1:] == answer


@pytest.mark.parametrize(
    ("faster", "word", "said"),
    [
        ({"value": 0.5, "low": 0.4, "high": 0.6}, "no", "slower"),
        ({"value": 1.1, "low": 0.9, "high": 1.3}, "open", "as fast: no difference proven"),
        ({"value": 2.0, "low": 1.8, "high": 2.2, "valid": False}, "open", "not proven: the measurement is INVALID"),
    ],
)
def test_faster_is_claimed_only_where_the_interval_shows_it(faster: dict[str, Any], word: str, said: str) -> None:
    report = shapes.whole()
    (index,) = [i for i, item in enumerate(report.artifacts) if item.id == shapes.FINAL]
    file = report.artifacts[index]
    latency = file.runs[0].latency[0]
    assert latency.speedup is not None
    changed = latency.model_copy(update={"speedup": latency.speedup.model_copy(update=faster)})
    run = file.runs[0].model_copy(update={"latency": [changed]})
    report.artifacts[index] = file.model_copy(update={"runs": [run]})
    assert answers(report)["Faster?"][1:] == (word, said)


def test_models_are_compared_when_nothing_was_exported() -> None:
    assert answers(shapes.one_step()) == {
        "Smaller?": ("2.1x", "yes", "smaller"),
        "Less work?": ("2.1x", "yes", "less to compute"),
        "Still right?": ("98.7 %", "open", "a little less, which may be chance"),
    }
    assert answers(shapes.only_trained()) == {}
    assert answers(shapes.only_exported()) == {"Smaller?": ("47x", "yes", "smaller")}


def test_what_is_to_be_served_is_told_beside_the_final_artifact() -> None:
    said = headline.served(shapes.whole())
    assert said == "25x smaller, 2.0x faster served over gRPC, 2.0x faster served over REST, right on 98.4 %"
    assert headline.served(shapes.whole(final="prune.saved_model.float32")) == ""


def test_a_change_of_nothing_has_no_minus() -> None:
    zero = shapes.model("x", None, 4, metrics={"accuracy_drop": {"value": 0.0, "low": -0.0001, "high": 0.0}})
    report = shapes.one_step()
    last = report.models[-1]
    report.models[-1] = last.model_copy(update={"metrics": last.metrics | zero.metrics})
    assert headline.answers(report)[-1].details[-1] == "from 99.0 %: +0.0 points, 95 % +0.0 to +0.0"


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (shapes.whole(), "All 5 limits are held, and every artifact that was asked for could be made and run."),
        (shapes.failed(), "3 of 4 limits are missed; 1 artifact could not be made or run: quantize.onnx.int8."),
        (shapes.error(), "The run failed in distill. The same command goes on from there."),
        (
            shapes.only_trained(),
            "Nothing is proven yet: the run stopped after train, before anything was measured. The command "
            "modelmill run goes on from there.",
        ),
        (
            shapes.only_exported(),
            "Nothing is proven yet: the run stopped after export, before anything was measured. The command "
            "modelmill run goes on from there.",
        ),
        (
            shapes.report(verdict="incomplete", ran=("train",), settings={"measure": None}),
            "Nothing is proven: the recipe has no section measure, so nothing was measured that could be judged.",
        ),
        (
            shapes.one_step(),
            "Nothing was judged: the models were measured, but limits are for exported files, and the recipe has no "
            "section export.",
        ),
        (
            shapes.whole(verdict="incomplete", gates=[]),
            "Nothing was judged: everything was measured, but the recipe sets no limits. Add some, such as "
            "judge.gates.max_accuracy_drop: 0.01; nothing is trained or measured again for that.",
        ),
    ],
    ids=["pass", "fail", "error", "until", "until export", "no measure", "no export", "no limits"],
)
def test_every_verdict_has_its_reason(report: Report, said: str) -> None:
    assert headline.sentence(report) == said


def test_files_that_are_only_planned_are_not_named_as_results() -> None:
    assert "Compared with" in page.render(shapes.only_exported())
    assert "Compared with" not in page.render(shapes.only_trained())


def test_terminal_says_too_why_nothing_was_judged() -> None:
    assert "Nothing is proven yet: the run stopped after train" in " ".join(terminal(shapes.only_trained()).split())
    assert "limits are held" not in terminal(shapes.whole())


def test_failures_of_the_moment_are_no_word_on_the_artifacts() -> None:
    files = shapes.files()
    files[-1] = files[-1].model_copy(update={"error": "the server was killed", "transient": True, "runs": []})
    said = headline.sentence(shapes.whole(verdict="error", artifacts=files))
    assert said == (
        "What quantize.onnx.int8 is worth could not be judged, for a failure of the moment. The same command goes on "
        "from there."
    )


def split_of(cells: list[tuple[int, int, int]], classes: list[str]) -> SplitAnswers:
    return SplitAnswers(
        samples=sum(count for *_, count in cells), classes=classes, answers=[Answers(of="x", cells=cells)]
    )


def test_confusion_matrix_has_a_row_for_every_class_with_recall_and_precision() -> None:
    split = split_of([(0, 0, 8), (0, 2, 2), (2, 2, 5)], ["a", "b", "c"])
    found = confusion.confusion(split.answers[0], split)
    assert [[cell.count for cell in row.cells] for row in found.matrix] == [[8, 0, 2], [0, 0, 0], [0, 0, 5]]
    assert [(row.samples, row.recall, row.precision) for row in found.matrix] == [
        (10, 0.8, 1.0), (0, None, None), (5, 1.0, 5 / 7)
    ]  # fmt: skip
    assert [cell.shade for cell in found.matrix[0].cells] == [4, 0, 1]
    assert found.wrong == 2
    assert [(pair.name, pair.answer, pair.count, pair.share) for pair in found.pairs] == [("a", "c", 2, 0.2)]


def test_many_classes_are_shown_as_their_most_confused_pairs() -> None:
    names = [f"class {i}" for i in range(100)]
    cells = [(i, i, 10) for i in range(100)] + [(i, i + 1, 1 + i % 3) for i in range(60)]
    split = split_of(sorted(cells), names)
    found = confusion.confusion(split.answers[0], split)
    assert found.matrix == ()
    assert len(found.pairs) == confusion.MOST_PAIRS
    assert found.more == 60 - confusion.MOST_PAIRS
    assert [pair.count for pair in found.pairs] == sorted((pair.count for pair in found.pairs), reverse=True)
    text = page.render(shapes.many_classes())
    assert "Most confused pairs of 100 classes" in text
    assert 'class="matrix"' not in text


def test_confusion_is_that_of_the_final_artifact_else_of_the_last_model() -> None:
    report = shapes.whole()
    assert report.tested is not None
    report.tested.answers.insert(0, Answers(of="prune.keras", cells=[(0, 0, 1)]))
    shown = confusion.shown(report)
    assert shown is not None
    assert shown.of == shapes.FINAL
    del report.tested.answers[1]
    shown = confusion.shown(report)
    assert shown is not None
    assert shown.of == "prune.keras"
    assert confusion.shown(shapes.only_trained()) is None


def test_page_says_when_nothing_is_wrong_and_shows_what_was_hardest() -> None:
    report = shapes.whole()
    assert report.tested is not None
    right = [one for one in report.tested.answers[0].hardest if one.right]
    perfect = report.tested.answers[0].model_copy(update={"cells": [(i, i, 31) for i in range(10)], "hardest": right})
    text = page.render(shapes.whole(tested=report.tested.model_copy(update={"answers": [perfect]})))
    assert "is right on all 310 test samples." in text
    assert "None is wrong; of these it was least sure." in text


def test_commands_name_the_runs_folder_and_quote_it() -> None:
    report = shapes.whole(folder="my runs/a", needs_trust=True)
    lines = [command.line for command in commands.commands(report)]
    assert lines[:4] == [
        "modelmill run 'my runs/a/recipe.yaml' --trust --out 'my runs/a'",
        "modelmill run 'my runs/a/recipe.yaml' --trust --out 'my runs/a' --from train",
        "modelmill validate 'my runs/a/recipe.yaml' --trust --out 'my runs/a' --from measure",
        "modelmill show 'my runs/a'",
    ]
    assert "-v \"$PWD\"/'my runs/a/artifacts/prune.saved_model.float32':/models/shape:ro" in lines[4]
    assert "-p 127.0.0.1:8500:8500 -p 127.0.0.1:8501:8501 " in lines[4]  # for this machine alone
    assert "--model_base_path=\"$PWD\"/'my runs/a/artifacts/prune.saved_model.float32'" in lines[5]


def test_commands_name_the_store_where_it_is_another() -> None:
    lines = [command.line for command in commands.commands(shapes.whole(store="my store"))]
    assert all(line.endswith("--out runs/shape --store 'my store'") for line in lines[:1])
    assert lines[2].endswith("--out runs/shape --store 'my store' --from measure")


def test_commands_are_only_those_that_the_run_allows() -> None:
    lines = [command.line for command in commands.commands(shapes.only_trained())]
    assert lines == [
        "modelmill run runs/shape/recipe.yaml --out runs/shape",
        "modelmill run runs/shape/recipe.yaml --out runs/shape --from train",
        "modelmill show runs/shape",
    ]
    assert commands.commands(shapes.whole(folder=None)) == []


def test_page_holds_the_resolved_recipe() -> None:
    text = page.render(shapes.whole(settings={"name": "a<b", "train": {"epochs": 7}}))
    assert "name: a&lt;b\ntrain:\n  epochs: 7\n" in text


def test_missed_gates_are_named_first_and_linked_to_what_to_try() -> None:
    text = page.render(shapes.failed())
    banner, rest = text.split("</header>")
    for number, name in ((1, "max_accuracy_drop"), (3, "min_size_ratio"), (4, "max_p99_ms")):
        assert f'<a href="#gate-{number}">{name}</a>' in banner
        assert f'<li id="gate-{number}" class="missed">' in rest
    assert '<li id="gate-2" class="held">' in rest
    assert rest.partition('<section id="gates"')[2].partition("</section>")[0].count("What to try:") == 3
    assert "the limit that would pass is at least 47.1" in rest


def test_layers_of_a_deep_model_are_the_largest_in_their_order() -> None:
    deep = shapes.model("train", 0.9, 1000, layers=300)
    rows = layers.rows(deep)
    assert len(rows) == layers.MOST_ROWS
    assert [layer.name for layer in rows] == [f"conv_{i}" for i in range(201, 301)]
    assert len(layers.histograms(deep)) == layers.MOST_HISTOGRAMS
    assert layers.others(deep) == "ReLU"


def test_page_of_very_large_models_stays_under_3_mb_and_says_what_it_left_out(tmp_path: Any) -> None:
    def deep(stage: str) -> Any:
        made = shapes.model(stage, 0.9, 10_000_000, layers=2000)
        curves = {key: [values[0]] * 5000 for key, values in made.training.items()}
        lazy = [layer.model_copy(update={"reason": "the recipe leaves it out " * 3}) for layer in made.layers]
        return made.model_copy(update={"training": curves, "layers": lazy})

    names = [f"class {i} with a name of some length" for i in range(1000)]
    report = shapes.whole(
        models=[deep(stage) for stage in ("train", "distill", "prune", "quantize")],
        artifacts=[*shapes.files()] * 6,
        tested=shapes.tested(shapes.FINAL, names, pictures=True),
    )
    folder = shapes.folder(tmp_path / "run")
    (folder / "examples" / "pixel.png").write_bytes(bytes(30_000))
    text = page.render(report, folder)
    assert len(text.encode()) < 3_000_000
    assert "The 100 largest of 2,000; report.json has all." in text
    assert "more, in report.json" in text


def test_page_says_why_a_file_quantized_after_training_is_not_faster() -> None:
    why = Explained(artifact="train.onnx.int8", against="train.onnx.float32", causes=["ONNX Runtime: float fallback"])
    text = page.render(shapes.whole(explained=[why]))
    assert "<code>train.onnx.int8</code>, ONNX Runtime: float fallback" in text
    assert "Not faster than the stage" not in page.render(shapes.whole())


def test_nothing_is_said_to_be_served_by_default_when_the_recipe_serves_nothing() -> None:
    served, unserved = (shapes.whole(settings={"serving": serving}) for serving in ({"target": "auto"}, None))
    assert "served by default" in page.render(served)
    assert "served by default" not in page.render(unserved)
    assert headline.served(served)
    assert not headline.served(unserved)


def test_file_that_takes_one_sample_at_a_time_is_marked() -> None:
    facts = {"gzip_bytes": 5_000, "accuracy": 0.9, "ms": 0.1}
    single = shapes.artifact("train", "tflite", "float32", batch=1, **facts)
    any_batch = shapes.artifact("train", "tflite", "float32", **facts)
    assert words.marks(single, shapes.report(verdict="pass")) == ["batch 1 only"]
    assert words.marks(any_batch, shapes.report(verdict="pass")) == []


def test_distinct_weights_stand_in_a_column_of_the_layers_and_on_the_terminal() -> None:
    few = shapes.whole()
    layers_ = [
        layer.model_copy(update={"clusters": 16, "clustered": per, "distinct": 9 + place})
        for place, (layer, per) in enumerate(zip(few.models[-1].layers, ("tensor", "tensor", "channel"), strict=False))
    ]
    model = few.models[-1].model_copy(update={"stage": "cluster", "layers": [*layers_, *few.models[-1].layers[3:]]})
    found = few.model_copy(update={"models": [*few.models[:-1], model], "bought": []})
    text = page.render(found)
    assert text.count("distinct weights</th>") == 1
    for words_ in ("9 of 16", "10 of 16", "11 of 16 a channel"):
        assert f'<td class="n">{words_}</td>' in text
    assert layers.clustered(model) == ["9 of 16: conv_1", "10 of 16: conv_2", "11 of 16 a channel: conv_3"]
    assert layers.clustered(few.models[0]) == []
    assert "distinct weights</th>" not in page.render(few)


def test_metrics_of_cluster_are_told_in_words() -> None:
    told = words.told({"clustered_layers": 1, "left_layers": 2, "distinct_weights": 16, "val_accuracy": 0.9})
    assert told == ["1 layer clustered", "2 left alone", "at most 16 distinct weights", "val_accuracy 0.9"]
