"""What a search says of itself, and the file that the server reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format

from pipeline.batching import document, parameters_file, words
from pipeline.batching.candidates import NONE, Candidate
from pipeline.batching.document import Pooled, Search, Trial
from pipeline.report.model import Interval
from serving.config import BatchingConfig
from serving.server.batching import parameters

BATCHING = BatchingConfig(
    max_batch_size=16, batch_timeout_micros=2000, num_batch_threads=2, max_enqueued_batches=3,
    allowed_batch_sizes=(4, 16),
)  # fmt: skip
NAME = Candidate(BATCHING).name


def interval(value: float, width: float = 0.1) -> Interval:
    return Interval(value=value, low=value * (1 - width), high=value * (1 + width))


def trial(batching: BatchingConfig | None, highest: float, p99: float | None, late: float) -> Trial:
    at = Pooled(
        blocks=5, requests=2000, shed_share=0.0, late_share=late, met=late <= 0.01, valid=5, proved=True,
        p50_ms=interval(4.0), p99_ms=None if p99 is None else interval(p99),
    )  # fmt: skip
    return Trial(
        name=Candidate(batching).name, parameters=batching, rungs=3, max_rate_per_s=interval(highest),
        searches=5, max_valid_rate_per_s=highest / 2, pooled=at, blocks=(),
    )  # fmt: skip


def searched(**changed: object) -> Search:
    plain: dict[str, object] = {
        "modelmill": "0.1.0", "model": "runs/digits:train.saved_model.float32", "rate_per_s": 400.0, "bound_ms": 20.0,
        "percentile": 0.99, "protocol": "grpc", "concurrency": 64, "encoding": "tensor_content", "flags": (),
        "samples": "256 of the test split", "target": "docker",
        "server": {"implementation": "tensorflow_model_server", "version": "2.20.0", "image": "tensorflow/serving"},
        "threads": 2, "machine": {"cpu": "a processor", "cores": 2}, "seconds": 100.0,
        "scaling_ms": {1: 2.0, 8: 4.0, 32: 9.0}, "left_out": (),
        "trials": (trial(None, 300, 45, 0.3), trial(BATCHING, 690, 18, 0.002)), "verdict": "found", "finalist": NAME,
        "max_rate_ratio": Interval(value=2.3, low=1.9, high=2.8), "pairs": 5, "client_limited": False,
    }  # fmt: skip
    return Search.model_validate({**plain, **changed})


def test_file_is_read_by_the_server_as_what_was_found(tmp_path: Path) -> None:
    parameters_file.write(searched(), tmp_path / "batching_parameters.txt")
    found = parameters.read(tmp_path / "batching_parameters.txt")
    found.check()
    assert found.max_batch_size == 16
    assert found.batch_timeout_micros == 2000
    assert found.num_batch_threads == 2
    assert found.max_enqueued_batches == 3
    assert found.allowed_batch_sizes == (4, 16)
    assert [path.name for path in tmp_path.iterdir()] == ["batching_parameters.txt"]


def test_file_is_text_format_for_protobufs_own_parser() -> None:
    message = parameters._message()()
    text_format.Parse(parameters_file.text(searched()), message)
    assert list(message.allowed_batch_sizes) == [4, 16]


def test_head_of_the_file_says_what_for_where_and_how_much() -> None:
    comments = [line for line in parameters_file.text(searched()).splitlines() if line.startswith("#")]
    head = " ".join(line.removeprefix("#").strip() for line in comments)
    for words_ in (
        "runs/digits:train.saved_model.float32", "400 requests/s", "a p99 of at most 20 ms",
        "2.3x (1.9 to 2.8) the rate of no batching under p99 <= 20 ms, 5 pairs",
        "up to 690 (621 to 759)/s in 5 searches (VALID up to 345/s), p99 18 (16.2 to 19.8) ms",
        ", 0.20% late or shed of 2000 requests", "the highest rates are point estimates",
        "no batching: up to 300", "30.00% late", "docker (tensorflow_model_server 2.20.0 tensorflow/serving)",
        "a processor, 2 cores",
    ):  # fmt: skip
        assert words_ in head, words_
    assert "embedded" not in head
    assert max(map(len, comments)) <= 120


def test_name_with_a_newline_stays_in_the_comments() -> None:
    text = parameters_file.text(searched(model="a\nmax_batch_size { value: 1 }"))
    assert [line for line in text.splitlines() if "value: 1 }" in line and not line.startswith("#")] == []


def test_parameters_from_behind_the_embedded_server_say_that_they_are_not_tensorflow_servings() -> None:
    assert "written in Python: TensorFlow Serving itself batches at other" in parameters_file.text(
        searched(target="embedded")
    ).replace("\n#  ", "")


def test_flags_that_the_parameters_need_are_said() -> None:
    refused, line = list(words.notes(searched(flags=("--grpc_max_threads=64",))))[1:]
    assert refused == "with them the server refuses requests of more than 16 samples"
    assert line == "found with the flags --grpc_max_threads=64: the server that ships needs them too"


def test_file_says_that_a_server_cannot_load_the_models_larger_warm_up_requests() -> None:
    text = parameters_file.text(searched(warmup_left_out=(32,))).replace("\n#  ", "")
    assert "warm-up requests of 32 samples were left out: with max_batch_size 16 no server loads" in text
    assert "`modelmill image --batching` leaves them out as well" in text
    assert "--enable_model_warmup=false, or a model that was exported with export.warmup.batches up to 16" in text
    assert "warm-up" not in parameters_file.text(searched())


def test_too_few_requests_and_a_client_at_its_limit_are_said() -> None:
    few = trial(BATCHING, 690, 18, 0.002)
    assert few.pooled is not None
    few = few.model_copy(update={"pooled": few.pooled.model_copy(update={"proved": False})})
    found = list(words.notes(searched(trials=(trial(None, 300, 45, 0.3), few), client_limited=True)))
    assert any("2000 requests are too few to be 99 % sure" in line for line in found)
    assert any("the client in Python was at its own limit" in line for line in found)


def test_missed_bound_says_by_how_much_and_what_would_help() -> None:
    found = searched(
        rate_per_s=1500.0, verdict="missed", max_rate_ratio=None,
        trials=(trial(None, 300, None, 0.9), trial(BATCHING, 690, 48, 0.4)),
    )  # fmt: skip
    assert words.verdict(found) == (
        f"nothing meets p99 <= 20 ms at 1500/s: {NAME} comes nearest, up to 690/s, 46% of what was asked for; at "
        "1500/s a p99 of 48 ms, 40.0% late or shed"
    )
    assert list(words.advice(found))[:2] == [
        "3 such servers side by side, or a rate below 690/s each", "a bound above 48 ms",
    ]  # fmt: skip


def test_bound_below_a_single_request_is_said() -> None:
    found = searched(
        verdict="missed", max_rate_ratio=None, bound_ms=1.5, trials=(trial(None, 300, 45, 0.3),), finalist=None
    )
    assert next(words.advice(found)).startswith("a bound above 2 ms: that is what a single request takes")


def test_interval_that_reaches_above_1_by_little_is_not_rounded_to_1() -> None:
    found = searched(max_rate_ratio=Interval(value=1.279, low=1.032, high=1.585))
    assert f"{NAME}: 1.28x (1.03 to 1.58) the rate of no batching" in words.verdict(found)


def test_bound_that_is_met_in_some_searches_alone_leaves_it_uncertain() -> None:
    found = searched(
        verdict="no gain", max_rate_ratio=None, trials=(trial(None, 0, 45, 0.3), trial(BATCHING, 690, 18, 0.002))
    )
    assert words.verdict(found) == (
        "it is not certain that batching buys anything: p99 <= 20 ms is met in some searches and missed in others"
    )
    assert next(words.advice(found)).startswith("more --pairs, a longer --block")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"max_rate_ratio": Interval(value=0.97, low=0.9, high=1.04)},
            "batching buys nothing: 0.97x (0.9 to 1.04) the rate of no batching",
        ),
        (
            {"max_rate_ratio": Interval(value=0.68, low=0.28, high=1.65)},
            "it is not certain that batching buys anything: 0.68x (0.28 to 1.65)",
        ),
        (
            {"max_rate_ratio": Interval(value=1.8, low=0.9, high=3.6)},
            "it is not certain that batching buys anything: 1.8x (0.9",
        ),
        (
            {"max_rate_ratio": None, "finalist": None},
            "buys nothing: no parameters meet p99 <= 20 ms at 400/s, and no batching does",
        ),
    ],
)
def test_batching_that_buys_nothing_is_said(changed: dict[str, object], said: str) -> None:
    assert said in words.verdict(searched(verdict="no gain", **changed))


def test_document_is_read_back_as_it_was_written() -> None:
    found = searched()
    assert Search.model_validate_json(found.model_dump_json(by_alias=True)) == found
    assert found.baseline.name == NONE.name
    assert document.Search.model_json_schema()
