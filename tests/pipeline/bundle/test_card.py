"""MODEL_CARD.md and LICENSE.md: what the report says and nothing else."""

from __future__ import annotations

import html
import re
from typing import Any

import markdown_it
import pytest

from pipeline.bundle import card, ends, licence, markdown
from pipeline.bundle.microcontroller import Micro
from pipeline.bundle.subject import Subject
from pipeline.exported import Exported
from pipeline.report import edge
from pipeline.report.data import Data, Output, SplitFacts
from pipeline.report.document import Report
from tests.pipeline.report import shapes

DATA = Data(
    source="digits", inputs={"image": [8, 8, 1]}, by="stratified", notes=["12 samples | were left out"],
    outputs=[Output(name="", task="classification", metric="accuracy", classes=list("0123456789"))],
    splits={"train": SplitFacts(samples=1078), "test": SplitFacts(samples=359)},
)  # fmt: skip
SIGNATURE: dict[str, Any] = {
    "integers": ends.INTEGERS,
    "inputs": [
        {"name": "image", "dtype": "int8", "shape": [None, 8, 8, 1], "kind": "image", "raw_range": [0.0, 16.0],
         "takes": ends.TAKES_INTEGERS, "files": [], "decoding": "as in the data, which has pixels",
         "quantization": {"scale": 0.0625, "zero_point": -128}},
    ],
    "outputs": [{"name": "logits", "dtype": "float32", "shape": [None, 10], "meaning": "logits", "quantization": None}],
}  # fmt: skip


def subject(report: Report, name: str = shapes.FINAL) -> Subject:
    item = next(one for one in report.artifacts if one.id == name)
    return Subject(Exported(shapes.Path("runs/shape"), item, {}), report, "shape", "digits")


def written(report: Report, micro: Micro | None = None) -> str:
    return card.text(subject(report), SIGNATURE, ["model.tflite", "golden/0.image.bin"], "LiteRT 2.3", micro)


def test_card_has_the_figures_of_the_report_with_intervals_and_counts() -> None:
    report = shapes.whole(data=DATA)
    (run,) = next(one for one in report.artifacts if one.id == shapes.FINAL).runs
    text = written(report)
    accuracy, latency = run.metrics["accuracy"], run.single_stream()
    assert latency is not None
    assert f"Over the whole test split, {run.parity.samples:,} samples" in text
    row = f"| accuracy | {100 * accuracy.value:.1f} % | {100 * accuracy.low:.1f} to {100 * accuracy.high:.1f} |"
    assert row in text
    assert f"| SingleStream | {latency.queries:,} | {latency.p50_ms:.3f} (" in text
    assert "| 4.200 (4.200 to 4.200) | 0.900 (0.900 to 0.900; batch 1) |" in text
    assert shapes.MACHINE["cpu"] in text
    assert "| train | 1,078 |" in text
    assert "The run's verdict: **pass**" in text
    for gate in report.gates:
        assert f"| {gate.name} | {gate.artifact} |" in text
    assert "| input | image | int8 | \\[batch, 8, 8, 1\\] | image, 0 to 16 | (integer - -128) * 0.0625 |" in text
    assert "WARNING" not in text
    assert "NOT JUDGED" not in text
    assert f"- image takes {ends.TAKES_INTEGERS}." in text
    assert f"    {ends.INTEGERS}" in text
    assert f"- Other runtimes and processors than LiteRT on {shapes.MACHINE['cpu']}." in text
    assert "served" not in text.partition("## Latency")[2].partition("## Size")[0]


def test_card_says_what_was_not_measured_and_invents_nothing() -> None:
    whole = shapes.whole(data=DATA, verdict="incomplete", gates=[], models=[], bought=[])
    bare = [one.model_copy(update={"runs": [], "macs": None, "operators": None}) for one in whole.artifacts]
    text = written(whole.model_copy(update={"artifacts": bare}))
    assert "NOT JUDGED" in text
    assert "Not measured: the run has no section measure" in text
    assert "## Latency\n\nNot measured." in text
    assert "| MACs of a sample | unknown |" in text
    assert "No gate was judged." in text
    assert "accuracy and parity of this file were not measured" in text


@pytest.mark.parametrize("shape", [shapes.failed, shapes.error])
def test_card_of_a_run_that_did_not_pass_begins_with_it(shape: Any) -> None:
    report = shape()
    item = next((one for one in report.artifacts if one.format == "tflite"), shapes.files()[1])
    report = report.model_copy(update={"artifacts": [*report.artifacts, item]})
    text = card.text(subject(report, item.id), SIGNATURE, [], "LiteRT", None)
    assert text.splitlines()[2].startswith(f"> **WARNING: the run's verdict is {report.verdict.upper()}.** ")


def test_texts_of_the_data_stay_in_their_cells() -> None:
    text = written(shapes.whole(data=DATA, recipe="a\n# b <script>"))
    assert "- 12 samples \\| were left out" in text
    assert text.startswith("# a # b &#60;script>: ")


ATTACKS = (
    "![x](http://evil/p.png)", "[a](javascript:1)", "<img src=x onerror=alert(1)>", "<https://evil>", "&lt;b&gt;",
    "a\n\n# b", "`` ` `` <b>", "\\<i>", "a | b", "**bold** __bold__ ~~gone~~", "# head", "1. one", "- item", "---",
    "[a]: http://evil", "C:\\x", "www.evil", "a\n===", "* * *", "_a_ *b*",
)  # fmt: skip


def rendered(text: str) -> str:
    return str(markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_of_a_stranger_is_shown_as_it_is_wherever_it_stands(attack: str) -> None:
    shown = html.escape(" ".join(attack.split()))
    assert rendered(markdown.plain(attack)) == f"<p>{shown}</p>\n"
    assert rendered(f"- {markdown.plain(attack)}") == f"<ul>\n<li>{shown}</li>\n</ul>\n"
    assert f"<p>x <code>{shown}</code></p>" in rendered(f"x {markdown.code(attack)}")
    table = rendered("\n".join(markdown.table(("a", "b"), [(attack, "c")])))
    assert table.count("<td>") == 2
    assert f"<td>{shown}</td>" in table


def test_text_that_readers_would_link_by_themselves_is_none() -> None:
    for text in ("http://evil", "HTTPS://evil", "ftp://evil", "mailto:a@evil", "www.evil", "a@evil.com"):
        assert text not in markdown.plain(text)


def test_card_of_a_stranger_s_report_has_no_mark_up_of_theirs() -> None:
    attack = "![x](http://evil/p.png)`<img src=x>`\n# evil"
    data = DATA.model_copy(
        update={
            "source": attack, "by": attack, "inputs": {attack: [1]}, "notes": [attack],
            "outputs": [Output(name=attack, task="classification", metric="accuracy", classes=[attack])],
            "splits": {attack: SplitFacts(samples=1), "test": SplitFacts(samples=359)},
        }
    )  # fmt: skip
    report = shapes.whole(
        data=data, recipe=attack, modelmill=attack, verdict="fail", machine={"cpu": attack, "cores": attack}
    )
    gates = [one.model_copy(update={"name": attack, "artifact": attack, "message": attack}) for one in report.gates]
    models = [one.model_copy(update={"stage": attack}) for one in report.models]
    item = next(one for one in report.artifacts if one.id == shapes.FINAL)
    evil = item.model_copy(update={"precision": attack, "variant": attack, "stage": attack, "error": attack})
    settings = {"model": {"path": attack}}
    changes = {"gates": gates, "models": models, "artifacts": [evil], "settings": settings}
    end = SIGNATURE["outputs"][0] | {"name": attack, "meaning": attack}
    signature = SIGNATURE | {"outputs": [end], "inputs": [SIGNATURE["inputs"][0] | {"name": attack, "files": [attack]}]}
    found = subject(report.model_copy(update=changes))
    micro = Micro(arena=1, apart={attack: 1.0})
    for text in (
        card.text(found, signature, [attack], attack, micro, [attack]),
        licence.text(found, [attack + ".vocabulary.txt"]),
    ):
        shown = rendered(text)
        assert "evil" in shown
        assert not re.search("<(img|a|script)[ >]", shown)
        assert not re.search(r"<h\d>evil", shown)


def changed(report: Report, **changes: Any) -> Report:
    """Return a report in which the final file is another."""
    items = [one.model_copy(update=changes) if one.id == shapes.FINAL else one for one in report.artifacts]
    return report.model_copy(update={"artifacts": items})


def test_card_of_a_file_that_failed_begins_with_why_and_does_not_say_that_nobody_measured() -> None:
    text = written(changed(shapes.whole(data=DATA), error="it ran past 240 s", runs=[], optional=True))
    assert text.splitlines()[2] == "> **WARNING: this file failed in the run.** it ran past 240 s"
    assert "Not measured: it failed; see the top." in text
    assert "has no section measure" not in text


def test_card_of_a_file_that_no_limit_was_for_says_so() -> None:
    report = shapes.whole(data=DATA)
    text = card.text(subject(report, "train.tflite.float32"), SIGNATURE, [], "LiteRT", None)
    judged = ", ".join(dict.fromkeys(gate.artifact for gate in report.gates))
    assert (
        text.splitlines()[2] == f"> **NOT JUDGED.** No limit of the run was for this file: its verdict is of {judged}."
    )


def test_card_of_a_failed_run_says_which_artifact_failed_when_no_gate_was_missed() -> None:
    report = shapes.whole(data=DATA, verdict="fail")
    other = [one.model_copy(update={"error": "no kernel\nfor FFT"}) if one.id != shapes.FINAL else one
             for one in report.artifacts if not one.optional]  # fmt: skip
    text = written(report.model_copy(update={"artifacts": other}))
    assert text.splitlines()[2] == "> **WARNING: the run's verdict is FAIL.** " + "; ".join(
        f"{one.id}: no kernel" for one in other if one.id != shapes.FINAL
    )


def test_card_tells_what_becomes_of_a_picture_and_that_a_row_has_a_range_for_each_column() -> None:
    image = SIGNATURE["inputs"][0] | {
        "decoding": ["turn it", "resize it"],
        "quantization": None,
        "takes": ends.TAKES_RAW,
    }
    row = {"name": "row", "dtype": "float32", "shape": [None, 2], "kind": "a row of a table", "quantization": None,
           "raw_ranges": {"a": [0, 1], "b": [5, 6]}, "takes": ends.TAKES_RAW,
           "files": ["row.columns.json"]}  # fmt: skip
    found = subject(shapes.whole(data=DATA))
    text = card.text(found, SIGNATURE | {"inputs": [image, row]}, [], "LiteRT", None)
    assert "- image takes raw values: the model scales them itself.\n  Of an image file: turn it; resize it." in text
    assert "- row takes raw values: the model scales them itself (row.columns.json)." in text
    assert "a row of a table, each column in its own range" in text
    assert ends.INTEGERS not in text


def test_card_says_what_a_microcontroller_needs_or_why_there_is_nothing_for_it() -> None:
    report = shapes.whole(data=DATA)
    assert "tensor arena of 12,345 bytes" in written(report, Micro(arena=12_345, apart={"logits": 1.0}))
    assert "Nothing for it is in here: no kernel for FFT." in written(report, Micro(why="no kernel for FFT"))
    assert "## On a microcontroller" in written(report, Micro(why="no kernel for FFT"))
    assert "microcontroller" not in written(report)


@pytest.mark.parametrize(
    ("stage", "precision", "said"),
    [
        ("quantize", "int8", ""), ("prune", "float16", ""), ("prune", "sparse-float32", ""),
        ("prune", "weight-int4", "its weights became weight-int4."),
        ("prune", "int8", "the ranges of its activations are those of 64 calibration samples."),
    ],
)  # fmt: skip
def test_card_says_of_a_file_that_was_quantized_after_training_how(stage: str, precision: str, said: str) -> None:
    splits = {**DATA.splits, "calibration": SplitFacts(samples=64)}
    report = shapes.whole(data=DATA.model_copy(update={"splits": splits}))
    text = written(changed(report, stage=stage, precision=precision))
    assert text.count("It was quantized after training: ") == bool(said)
    assert said in text


@pytest.mark.parametrize(
    ("form", "precision", "said"),
    [("onnx", "int8", True), ("onnx", "float16", False), ("tflite", "int8", False)],
)
def test_card_says_which_processors_answer_otherwise(form: str, precision: str, said: bool) -> None:
    text = written(changed(shapes.whole(data=DATA), format=form, precision=precision))
    assert ("session.x64quantprecision" in text) is said


def test_licence_says_that_nothing_is_known_and_names_what_is_copied() -> None:
    text = licence.text(subject(shapes.whole(data=DATA)), ["text.vocabulary.txt"])
    assert "does not know under which terms" in text
    assert "source `digits`" in text
    assert "its words in text.vocabulary.txt" in text


def test_card_tells_what_the_device_of_the_recipe_takes_where_the_file_goes_there() -> None:
    micro = edge.Micro(
        version="1", arena_bytes=4608, head_bytes=1024, tail_bytes=3264,
        parity=[edge.Agreement(output="logits", samples=359, values=3590, equal_share=0.99, max_steps=1,
                               max_abs_error=0.1, top1_agreement=1.0, kernels="default")],
    )  # fmt: skip
    npu = edge.Npu(
        name="ethos-u55-128", accelerator="ethos-u55-128", system_config="Embedded", memory_mode="Shared_Sram",
        vela="5.2.0", operators=10, on_npu=10, sram_bytes=2048, flash_bytes=9000, time_ms=0.25,
    )  # fmt: skip
    found = edge.Edge(artifact=shapes.FINAL, profile="cortex-m55", runtime="tflite-micro", micro=micro, npus=[npu])
    text = written(shapes.whole(data=DATA, edge=found))
    assert f"{shapes.FINAL} for cortex-m55, in TensorFlow Lite Micro." in text
    assert "- The tensor arena is 4,608 bytes, of this file" in text
    assert "What Vela compiled is in the run's artifacts/edge/, not in here" in text
    assert "- logits over 359 test samples: 99 % of the values as in LiteRT" in text
    assert "| ethos-u55-128 | Embedded, Shared_Sram | all 10 | 2.0 kB | 9.0 kB | 0.250 ms |" in text
    source = edge.Source(files=["model.c"], of="ethos-u55-128_vela.tflite", npu="ethos-u55-128", arena_bytes=5312)
    compiled = shapes.whole(data=DATA, edge=found.model_copy(update={"source": source}))
    told = "It computes on the CPU alone. The recipe's device has an NPU, ethos-u55-128"
    assert told in written(compiled, Micro(arena=4608))
    assert told not in written(shapes.whole(data=DATA, edge=found), Micro(arena=4608))
    other = found.model_copy(update={"artifact": "train.tflite.float32"})
    assert "cortex-m55" not in written(shapes.whole(data=DATA, edge=other))


def test_file_that_only_a_board_has_timed_has_no_accuracy_and_its_times() -> None:
    report = shapes.whole(data=DATA)
    item = next(one for one in report.artifacts if one.id == shapes.FINAL)
    (run,) = item.runs
    on_board = run.model_copy(update={"runtime": "device", "threads": None, "parity": None, "metrics": {}})
    artifacts = [one.model_copy(update={"runs": [on_board]}) if one.id == item.id else one for one in report.artifacts]
    text = written(report.model_copy(update={"artifacts": artifacts}))
    assert "## Accuracy and parity\n\nNot measured" in text
    assert "| the device | SingleStream |" in text
    assert "timed there, by the recipe's edge.command" in text
    assert shapes.MACHINE["cpu"] not in text
    assert (
        "- Any runtime: accuracy and parity of this file were not measured in this run.\n- The device: it was" in text
    )


def test_latency_of_a_batch_says_how_large_it_is_and_an_invalid_one_why() -> None:
    report = shapes.whole(data=DATA)
    item = next(one for one in report.artifacts if one.id == shapes.FINAL)
    run, batched = item.runs[0], item.runs[0].batched()
    assert batched is not None
    changed = batched.model_copy(update={"settings": {"batch": 32}, "valid": False, "problems": ["a busy machine"]})
    found = item.model_copy(update={"runs": [run.model_copy(update={"latency": [changed]})]})
    artifacts = [found if one.id == item.id else one for one in report.artifacts]
    text = written(report.model_copy(update={"artifacts": artifacts}))
    assert "MultiStream, batches of 32 (not valid: a busy machine) |" in text
