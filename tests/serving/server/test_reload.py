"""Models and versions come, change and go while a server runs, as its clients see it (rules 3.11, 3.12, 5.3 and 6)."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2

from tests.serving.server.asking import Grpc, failure, predict_request
from tests.serving.server.running import Running

PATIENCE_S = 240
TENSORFLOW = 'model_platform: "tensorflow"'


class Lab:
    """A running server, its folder of models, and a client."""

    def __init__(self, server: Running, client: Grpc, source: Path, root: Path) -> None:
        self.server, self.client, self._source, self.root = server, client, source, root

    def publish(self, model: str, version: int, source: str) -> None:
        """Make a version appear, a copy of one of the tests' models."""
        folder = self.root / model / f"{version}.tmp"
        shutil.copytree(self._source / source, folder)
        folder.rename(self.root / model / str(version))

    def remove(self, model: str, version: int) -> None:
        folder = self.root / model / str(version)
        shutil.rmtree(folder.rename(folder.with_suffix(".gone")))

    def entry(self, name: str, rest: str = TENSORFLOW) -> str:
        """Return one model of a config; it has a folder."""
        (self.root / name).mkdir(exist_ok=True)
        return f'config {{ name: "{name}" base_path: "{self.root / name}" {rest} }}'

    def request(self, *entries: str, metrics: tuple[str, ...] = ()) -> Any:
        request = model_management_pb2.ReloadConfigRequest(metric_names=metrics)
        request.config.model_config_list.SetInParent()
        text_format.Parse("\n".join(entries), request.config.model_config_list)
        return request

    def reload(self, *entries: str, metrics: tuple[str, ...] = ()) -> Any:
        return self.client.model.HandleReloadConfigRequest(self.request(*entries, metrics=metrics), timeout=PATIENCE_S)

    def reload_failure(self, request: Any) -> tuple[str, str]:
        return failure(self.client.model.HandleReloadConfigRequest, request, PATIENCE_S)

    def states(self, name: str) -> dict[int, int]:
        """Return version -> state; nothing where the server does not know the model."""
        try:
            return {status.version: status.state for status in self.client.statuses(name)}
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND, error
            return {}

    def becomes(self, name: str, states: dict[int, int]) -> None:
        within(lambda: self.states(name) == states, lambda: self.states(name))

    def y(self, name: str, version: int | None = None) -> float:
        """Return what a model makes of 4: half of it and 2, or 3 in the second version."""
        request = predict_request(name, x=np.array([4], np.float32), version=version)
        return float(self.client.predict(request)["y"][0])


def within(condition: Callable[[], bool], what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


START, LOADING, AVAILABLE, UNLOADING, END = 10, 20, 30, 40, 50
LATEST = "Servable not found for request: Latest"


@pytest.fixture(scope="module")
def lab(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A server that starts without a model; at its end a reload waits and a version is to be tried again."""
    folder = tmp_path_factory.mktemp("lab")
    config = folder / "models.config"
    config.write_text("model_config_list {}")
    flags = [f"--model_config_file={config}", "--max_num_load_retries=1", "--load_retry_interval_micros=1000"]
    running = Running(folder / "server", flags)
    (folder / "models").mkdir()
    try:
        running.wait_until_ready()
        with Grpc(running.port) as client:
            made = Lab(running, client, models, folder / "models")
            yield made
            assert running.process.poll() is None, running.err
            waiting = client.model.HandleReloadConfigRequest.future(made.request(made.entry("empty")), timeout=60)
            running.wait_for_log("No versions of servable empty found")
            assert not waiting.done()
            running.process.send_signal(signal.SIGTERM)
            assert running.ended() == 0
            assert waiting.code() is grpc.StatusCode.UNAVAILABLE
        assert "Traceback" not in running.err
    finally:
        running.process.kill()


@pytest.mark.rule("3.12")
def test_reload_waits_for_a_new_model_and_unloads_those_that_are_left_out(lab: Lab) -> None:
    lab.publish("first", 7, "half/1")
    response = lab.reload(lab.entry("first"), metrics=("/tensorflow/serving/no_such", "/tensorflow/serving/no_such"))
    assert response.status.error_code == 0
    assert [(metric.name, metric.int64_value_increase) for metric in response.metric] == [
        ("/tensorflow/serving/no_such", 0)
    ]
    assert lab.y("first") == 4
    lab.publish("second", 1, "half/2")
    lab.reload(lab.entry("second"))
    assert lab.y("second") == 5
    lab.becomes("first", {7: END})
    request = predict_request("first", x=np.array([4], np.float32))
    assert failure(lab.client.prediction.Predict, request) == ("NOT_FOUND", f"{LATEST}(first)")


@pytest.mark.rule("3.11", "4.4", "6.4")
def test_an_unloaded_model_stays_listed_without_an_error(lab: Lab) -> None:
    lab.publish("listed", 5, "half/1")
    lab.reload(lab.entry("listed"))
    lab.reload()
    lab.becomes("listed", {5: END})
    (status,) = lab.client.statuses("listed")
    assert (status.status.error_code, status.status.error_message) == (0, "")
    status_code, text = lab.server.ask("GET", "/v1/models/listed")
    assert status_code == 200
    assert '"END"' in text
    error = lab.server.predict_error("listed", {"instances": [4]})
    assert error == (404, f"{LATEST}(listed)")


@pytest.mark.rule("3.12", "3.11", "5.3")
def test_reload_says_why_a_new_model_failed_and_the_others_serve(lab: Lab) -> None:
    lab.publish("good", 1, "half/1")
    lab.publish("bad", 1, "half/00000003")
    code, text = lab.reload_failure(lab.request(lab.entry("good"), lab.entry("bad")))
    assert code == "UNKNOWN"
    assert text.startswith("1 model(s) did not become available: {")
    assert "{name: bad version: 1} due to error: DATA_LOSS: Can't parse " in text
    assert lab.y("good") == 4
    (status,) = lab.client.statuses("bad")
    assert (status.state, status.status.error_code) == (END, 15)
    assert status.status.error_message.startswith("Can't parse ")
    assert lab.server.err.count("{name: bad version: 1} failed: ") == 2


def _without_list(lab: Lab) -> Any:  # noqa: ARG001
    return model_management_pb2.ReloadConfigRequest()


def _custom(lab: Lab) -> Any:  # noqa: ARG001
    request = model_management_pb2.ReloadConfigRequest()
    request.config.custom_model_config.SetInParent()
    return request


NO_LIST = (
    "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
)
NEITHER = (
    "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, model "
    "name is m"
)


@pytest.mark.rule("3.12")
@pytest.mark.parametrize(
    ("request_of", "text"),
    [
        (_without_list, NO_LIST), (_custom, NO_LIST),
        (lambda lab: lab.request(lab.entry("m"), lab.entry("m")),
         "Illegal to list model m multiple times in config list"),
        (lambda lab: lab.request(f"config {{ name: 'm' base_path: 'x' {TENSORFLOW} }}"),
         "Expected model m to have an absolute path or URI; got base_path()=x"),
        (lambda lab: lab.request(f"config {{ name: 'm' base_path: '/x\\000' {TENSORFLOW} }}"),
         "Expected model m to have an absolute path or URI; got base_path()=/x\0"),
        (lambda lab: lab.request(lab.entry("m", "")), NEITHER),
        (lambda lab: lab.request(lab.entry("p", 'model_platform: "P"')), "Model p requests unsupported platform P"),
        (lambda lab: lab.request(lab.entry("p", 'model_platform: "Q"')),  # the one before, rejected, counts
         "Illegal to change a model's platform. For model p platform was P and new platform requested is Q"),
    ],
)  # fmt: skip
def test_reload_refuses_what_is_no_config(lab: Lab, request_of: Callable[[Lab], Any], text: str) -> None:
    assert lab.reload_failure(request_of(lab)) == ("INVALID_ARGUMENT", text)


@pytest.mark.rule("6.1", "6.2", "6.5", "2.5")
def test_a_request_on_the_old_version_ends_while_the_new_one_serves(lab: Lab) -> None:
    lab.publish("slow", 1, "slow/1")
    lab.reload(lab.entry("slow"))
    predict = lab.client.prediction.Predict
    predict(predict_request("slow", n=np.int64(10)), timeout=30)
    endless = predict.future(predict_request("slow", n=np.int64(2**60)), timeout=15)
    steps = 400_000  # a second or more
    running = predict.future(predict_request("slow", n=np.int64(steps)), timeout=PATIENCE_S)
    lab.publish("slow", 2, "slow/1")
    lab.becomes("slow", {2: AVAILABLE, 1: UNLOADING})
    assert not endless.done()
    old = predict_request("slow", version=1, n=np.int64(1))
    assert failure(predict, old) == ("NOT_FOUND", "Servable not found for request: Specific(slow, 1)")
    new = predict(predict_request("slow", n=np.int64(1)), timeout=30)
    assert new.model_spec.version.value == 2
    response = running.result()
    assert response.model_spec.version.value == 1
    assert response.outputs["y"].int64_val == [steps]
    assert endless.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    lab.becomes("slow", {2: AVAILABLE, 1: END})


@pytest.mark.rule("6.3", "5.3")
def test_the_old_version_serves_on_when_the_new_one_cannot_be_loaded(lab: Lab) -> None:
    lab.publish("m", 1, "half/1")
    lab.reload(lab.entry("m"))
    lab.publish("m", 2, "half/00000003")
    lab.becomes("m", {2: END, 1: AVAILABLE})
    assert lab.y("m") == 4
    assert lab.client.statuses("m", 2)[0].status.error_code == 15
    lab.publish("m", 3, "half/2")
    lab.becomes("m", {3: AVAILABLE, 2: END, 1: END})
    assert lab.y("m") == 5


@pytest.mark.rule("6.4", "5.1", "5.2")
def test_the_next_lower_version_comes_back_and_a_model_without_versions_goes(lab: Lab) -> None:
    lab.publish("back", 1, "half/1")
    lab.publish("back", 2, "half/2")
    lab.publish("stays", 1, "half/1")
    lab.reload(lab.entry("back"), lab.entry("stays"))
    assert lab.states("back") == {2: AVAILABLE}
    lab.remove("back", 2)
    lab.becomes("back", {2: END, 1: AVAILABLE})
    assert lab.y("back") == 4
    shutil.rmtree(lab.root / "stays")
    lab.server.wait_for_log("Could not find base path .*/stays for servable stays")
    lab.remove("back", 1)  # and the others are looked for all the same
    lab.becomes("back", {2: END, 1: END})
    request = predict_request("back", x=np.array([4], np.float32))
    assert failure(lab.client.prediction.Predict, request) == ("NOT_FOUND", f"{LATEST}(back)")
    assert lab.y("stays") == 4
    lab.publish("back", 2, "half/1")
    lab.becomes("back", {2: AVAILABLE, 1: END})


@pytest.mark.rule("6.7", "2.4", "3.12")
def test_a_label_goes_only_to_a_version_that_is_available(lab: Lab) -> None:
    every = f"{TENSORFLOW} model_version_policy {{ all {{}} }}"
    label = 'version_labels {{ key: "stable" value: {} }}'
    lab.publish("labelled", 1, "half/1")
    new = lab.request(lab.entry("labelled", every + label.format(1)))
    expected = "Request to assign label to version {} of model labelled, which is not currently available for inference"
    assert lab.reload_failure(new) == ("FAILED_PRECONDITION", expected.format(1))
    lab.reload(lab.entry("labelled", every))
    lab.reload(lab.entry("labelled", every + label.format(1)))
    path = "/v1/models/labelled/labels/stable:predict"
    assert '"predictions": [4.0' in lab.server.ask("POST", path, {"instances": [4]})[1]
    early = lab.request(lab.entry("labelled", every + label.format(2)))
    assert lab.reload_failure(early) == ("FAILED_PRECONDITION", expected.format(2))
    lab.publish("labelled", 2, "half/2")
    lab.becomes("labelled", {2: AVAILABLE, 1: AVAILABLE})
    assert '"predictions": [4.0' in lab.server.ask("POST", path, {"instances": [4]})[1]
    lab.reload(lab.entry("labelled", every + label.format(2)))
    assert '"predictions": [5.0' in lab.server.ask("POST", path, {"instances": [4]})[1]


@pytest.mark.rule("5.2")
def test_specific_versions_are_served_and_missing_ones_only_warned_of(lab: Lab) -> None:
    for version in (1, 2, 3):
        lab.publish("specific", version, "half/1")
    some = "model_version_policy { specific { versions: 1 versions: 2 versions: 9 } }"
    lab.reload(lab.entry("specific", f"{TENSORFLOW} {some}"))
    lab.becomes("specific", {2: AVAILABLE, 1: AVAILABLE})
    lab.server.wait_for_log("Version 9 of servable specific, .* was not found in the file system")


@pytest.fixture(scope="module")
def polled(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Path]]:
    """A server that reads its config each second, and the config's path; it starts with an empty one."""
    folder = tmp_path_factory.mktemp("polled")
    config = folder / "models.config"
    config.write_text("")
    flags = [f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1", "--num_load_threads=2",
             "--max_num_load_retries=9", "--load_retry_interval_micros=60000000"]  # fmt: skip
    running = Running(folder / "server", flags)
    (folder / "models").mkdir()
    try:
        running.wait_until_ready()
        with Grpc(running.port) as client:
            yield Lab(running, client, models, folder / "models"), config
        assert running.process.poll() is None, running.err
        running.process.send_signal(signal.SIGTERM)  # a version waits for its next attempt
        assert running.ended() == 0
        assert "Traceback" not in running.err
    finally:
        running.process.kill()


def write(path: Path, text: str) -> None:
    """Replace a config, at once."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


@pytest.mark.rule("6.6", "1.2")
def test_a_polled_config_is_applied_and_a_wrong_one_changes_nothing(polled: tuple[Lab, Path]) -> None:
    lab, config = polled
    lab.publish("m", 1, "half/1")
    write(config, f"model_config_list {{ {lab.entry('m')} }}")
    within(lambda: "version: 1}" in lab.server.err, lambda: lab.server.err)
    lab.becomes("m", {1: AVAILABLE})
    for text, said in (
        ("model_config_list { config", "Invalid protobuf file: "),
        (f"model_config_list {{ {lab.entry('m')} {lab.entry('m')} }}", "Illegal to list model m multiple times"),
        ("", "Cannot transition to requested config"),
    ):
        write(config, text)
        lab.server.wait_for_log(f"PollFilesystemAndReloadConfig failed to ReloadConfig: .*{said}")
        assert lab.y("m") == 4
    lab.publish("other", 1, "half/2")
    write(config, f"model_config_list {{ {lab.entry('other')} }}")
    lab.becomes("m", {1: END})
    lab.becomes("other", {1: AVAILABLE})
    assert lab.y("other") == 5
    lab.publish("other", 2, "half/00000003")
    lab.becomes("other", {2: LOADING, 1: AVAILABLE})
    lab.server.wait_for_log("{name: other version: 2} failed")
