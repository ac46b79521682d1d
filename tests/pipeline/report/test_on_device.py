from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.edge import device
from pipeline.push import passed
from pipeline.report import document, headline, on_device, page
from pipeline.report.edge import OnCpu
from pipeline.report.model import Interval
from tests.pipeline.report.test_page import Balance, measured, report, terminal
from tests.pipeline.stages.test_judge import FLOAT, INT8, REFERENCE, artifact

NPU = {
    "name": "ethos-u55-128", "accelerator": "ethos-u55-128", "system_config": "S", "memory_mode": "M", "vela": "5.2.0",
    "operators": 9, "on_npu": 8, "on_cpu": [{"kind": "SIN", "output": "<b>", "reasons": ["Unsupported opType"]}],
    "file": "x_vela.tflite", "file_bytes": 12_336, "sram_bytes": 2048, "clock_mhz": 500, "cycles": 8085,
    "time_ms": 0.01617,
}  # fmt: skip
MICRO = {
    "version": "1", "arena_bytes": 4608, "head_bytes": 1024, "tail_bytes": 3264,
    "operators": [{"kind": "CONV_2D", "count": 4, "method": "AddConv2D"}],
    "parity": [{"kernels": "reference", "output": "logits", "samples": 359, "values": 3590, "equal_share": 0.5,
                "max_steps": 1, "max_abs_error": 0.1, "top1_agreement": 1.0}],
}  # fmt: skip
SOURCE = {"files": ["model.c", "model.h"], "of": "x_vela.tflite", "npu": "ethos-u55-128", "arena_bytes": 5312}
GATE = {
    "name": "max_arena_bytes", "artifact": INT8.id, "limit": 1024, "value": 4608, "low": 4608, "high": 4608,
    "passed": False, "message": "4,608 bytes, limit at most 1,024 bytes: missed; try less", "upper": True,
    "unit": " bytes", "todo": "less",
}  # fmt: skip


def shown(**changes: Any) -> document.Report:
    timed = device.summary([np.full(20, 2_000_000), np.full(20, 3_000_000)])
    on_board = {"runtime": "device", "threads": None, "target": "remote", "metrics": {}, "parity": None,
                "latency": [timed.model_dump()]}  # fmt: skip
    edge = {"artifact": INT8.id, "profile": "cortex-m55-ethos-u55-128", "runtime": "tflite-micro", "file_bytes": 11_346,
            "micro": MICRO, "npus": [NPU], "source": SOURCE} | changes  # fmt: skip
    files = [artifact(REFERENCE, measured(), gzip_bytes=8000), artifact(FLOAT, measured()),
             artifact(INT8, measured(), *[on_board] * ("device" in changes))]  # fmt: skip
    return report(edge=edge, artifacts=files, gates=[GATE])


def test_page_and_terminal_say_what_the_device_takes_and_what_stays_on_the_cpu() -> None:
    whole = page.render(shown())
    balance = Balance()
    balance.feed(whole)
    assert balance.open == []
    assert "<b>" not in whole.partition('<section id="edge"')[2].partition("</section>")[0]
    text = " ".join(terminal(shown(), width=200).split())
    for words in ("needs an arena of 4,608 bytes", "CONV_2D x4", "8 of 9", "8,085",
                  "Ethos-U has no such operator (Vela: Unsupported opType)",
                  "logits over 359 test samples: 50 % of the values as in LiteRT",
                  "artifacts/edge/model.c, model.h, of x_vela.tflite: it needs the NPU ethos-u55-128 (AddEthosU)",
                  "no limit that the device could miss"):  # fmt: skip
        assert words in whole
        assert words in text
    assert "max_arena_bytes" in whole.partition('<section id="edge"')[2].partition("</section>")[0]
    assert max(len(line) for line in terminal(shown()).splitlines()) <= 80


def answers(**changes: Any) -> dict[str, tuple[str, str, str]]:
    return {one.question: (one.figure, one.word, one.said) for one in headline.answers(shown(**changes))}


def test_accuracy_in_the_first_figures_is_that_of_the_runtime_there() -> None:
    found = shown()
    there = {"accuracy": Interval(value=0.75, low=0.7, high=0.8)}
    *others, final = found.artifacts
    runs = [final.runs[0], final.runs[0].model_copy(update={"runtime": "tflite-micro", "metrics": there})]
    judged = found.model_copy(update={"artifacts": [*others, final.model_copy(update={"runs": runs})]})
    (right,) = (one for one in headline.answers(judged) if one.question == "Right?")
    assert (right.figure, right.details[-1]) == ("75.0 %", "in TFLite Micro on this machine")


def test_first_figures_are_what_the_device_needs_and_none_of_this_machines_speed() -> None:
    alone = NPU | {"on_cpu": []}
    found = answers(npus=[alone])
    assert found == {
        "Right?": ("99.0 %", "open", "nothing to compare with"),
        "RAM?": ("5.3 kB", "no", "more than 1,024 bytes"), "Flash?": ("12.3 kB", "open", "no limit"),
        "Time?": ("0.016 ms", "open", "no limit"),
    }  # fmt: skip
    assert answers(npus=[alone | {"error": "Vela does not compile it"}]).keys() == {"RAM?", "Right?"}
    timed = answers(npus=[alone], device={"command": ["x"], "runs": 2})
    assert timed["Time?"][0] == "2.449 ms"
    details = [one.details[0] for one in headline.answers(shown(npus=[]))]
    assert details[:2] == ["4,608 bytes, the tensor arena, measured in TensorFlow Lite Micro",
                           "11,346 bytes, the .tflite, without the program's code"]  # fmt: skip
    part = next(one for one in headline.answers(shown()) if one.question == "Time?")
    assert part.details[0].endswith("of the NPU's part alone, 8 of 9 operators")


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"passed": True}, ("yes", "within 1,024 bytes")),
        ({"low": 1000}, ("no", "not proven: the measurement is INVALID")),
        ({"value": None, "low": None, "high": None}, ("no", "not known, and may be no more than 1,024 bytes")),
    ],
)
def test_first_figure_says_how_it_stands_to_its_limit(gate: dict[str, Any], said: tuple[str, str]) -> None:
    changed = shown().model_copy(update={"gates": [document.Gate.model_validate(GATE | gate)]})
    (ram,) = (one for one in headline.answers(changed) if one.question == "RAM?")
    assert (ram.word, ram.said) == said


def test_device_stands_beside_the_other_runtimes_with_its_median() -> None:
    found = shown(device={"command": ["x"], "runs": 2})
    whole = page.render(found)
    assert "the device" in whole
    assert "On the device an answer takes 2.449 ms" in whole
    assert "40 answers in 2 runs of edge.command" in whole
    assert "2.449" in whole  # the geometric mean of the medians
    assert "2.449" in terminal(found, width=200)


def test_what_failed_there_is_told_with_its_reason() -> None:
    text = terminal(shown(micro={"version": "1", "error": "TFLM has no kernel for SIN"}, npus=[
        NPU | {"error": "Vela does not compile it", "on_cpu": []}], device={"command": ["x"], "runs": 5,
        "error": "edge.command failed"}), width=200)  # fmt: skip
    for words in ("TFLM has no kernel for SIN", "Vela does not compile it", "edge.command failed"):
        assert words in text


def test_float_ends_that_stay_on_the_cpu_get_advice() -> None:
    left = [OnCpu(kind="QUANTIZE", output="x", reasons=["Operation has tensor with unsupported DataType Float32 (x)"])]
    npu = on_device.Npu.model_validate(NPU | {"on_cpu": [one.model_dump() for one in left]})
    assert "int8.int8-ends.batch1" in on_device.ends(npu)
    assert on_device.reason(left[0]).startswith("it has float32 values, and Ethos-U computes in integers (Vela: ")
    assert on_device.ends(on_device.Npu.model_validate(NPU)) == ""


def test_first_sentence_and_push_name_what_failed_on_the_device() -> None:
    failed = {"command": ["x"], "runs": 5, "error": "edge.command failed\n  found: nothing", "transient": True}
    found = shown(device=failed).model_copy(update={"verdict": "error", "failure": None, "gates": []})
    assert f"What {INT8.id} on the device is worth could not be judged" in headline.sentence(found)
    missed = found.model_copy(update={"verdict": "fail"})
    assert headline.sentence(missed) == "what the device takes is not all known: edge.command failed."
    assert passed.why(missed) == ["edge.command: edge.command failed"]
