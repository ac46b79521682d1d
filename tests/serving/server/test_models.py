"""A config is applied while the server runs, or refused (rules 3.12, 5.2, 6.6 and 6.7)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from tensorflow_serving.config import model_server_config_pb2

from tests.serving.server.offline import Loader, Offline


@pytest.mark.rule("5.2", "6.1")
def test_a_policy_that_changes_is_applied_at_once_and_not_waited_for(make: Callable[..., Offline]) -> None:
    one = make()
    one.add("m", 1, 2, 3)
    one.start("m:")
    one.loader.gates["m", 1] = threading.Event()
    one.reload("m: model_version_policy { specific { versions: 1 versions: 2 versions: 9 } }")  # returns
    one.look()
    one.becomes({3: "END", 2: "AVAILABLE", 1: "LOADING"})
    one.loader.gates["m", 1].set()
    one.becomes({3: "END", 2: "AVAILABLE", 1: "AVAILABLE"})
    one.reload("m: model_version_policy { latest { num_versions: 2 } }")
    one.look()
    one.becomes({3: "AVAILABLE", 2: "AVAILABLE", 1: "END"})


@pytest.mark.rule("3.12")
def test_a_reload_waits_for_new_models_and_unloads_those_that_are_left_out(make: Callable[..., Offline]) -> None:
    one = make(poll_s=1)
    one.add("m", 1)
    one.add("new", 1)
    one.start("m:")
    one.loader.gates["new", 1] = threading.Event()
    reload = threading.Thread(target=one.reload, args=["new:"])
    reload.start()
    one.becomes({1: "END"})
    reload.join(0.1)
    assert reload.is_alive()
    one.loader.gates["new", 1].set()
    reload.join(5)
    assert not reload.is_alive()
    assert one.asked("new") == 1
    one.reload("m:\nnew:")  # waits for m, which is new again, though it has ended before
    assert one.asked("m") == 1


@pytest.mark.rule("3.12")
def test_a_reload_says_why_a_new_model_failed_and_the_others_stay(make: Callable[..., Offline]) -> None:
    one = make(Loader(bad1=99), poll_s=1)
    one.add("m", 1)
    one.add("bad", 1)
    one.start("m:")
    reason = "{name: bad version: 1} due to error: NOT_FOUND: nothing in 1}, "
    expected = f"UNKNOWN: 1 model(s) did not become available: {{{reason}}}"
    assert one.error(lambda: one.reload("m:\nbad:")) == expected
    assert one.asked("m") == 1
    one.reload("m:\nbad:")  # it is no new one by now


@pytest.mark.rule("3.12")
def test_later_reloads_wait_while_one_waits_for_a_model_without_versions(make: Callable[..., Offline]) -> None:
    one = make(poll_s=1)
    one.add("m", 1)
    one.start("m:")
    gone = one.error(lambda: one.models.reload(one.config("m:\nempty:"), lambda: False))
    assert gone == "CANCELLED: nobody waits for the config to be applied"
    later = threading.Thread(target=one.reload, args=["m:"])
    later.start()
    later.join(0.5)
    assert later.is_alive()
    one.add("empty", 1)
    later.join(60)
    assert not later.is_alive()
    assert one.loader.calls.count(("empty", 1)) == 1


def test_a_reload_that_waits_ends_when_the_server_stops(make: Callable[..., Offline]) -> None:
    one = make(poll_s=1)
    one.add("m", 1)
    one.start("m:")
    threading.Timer(0.1, one.models.stop).start()
    assert one.error(lambda: one.reload("empty:")) == "UNAVAILABLE: the server stops"


UNAVAILABLE = "FAILED_PRECONDITION: Request to assign label to version {} of model m, which is not currently available "


@pytest.mark.rule("6.7", "2.4")
def test_a_label_goes_only_to_a_version_that_is_available(make: Callable[..., Offline]) -> None:
    one = make(poll_s=1)
    one.add("m", 1, 2)
    both = "m: model_version_policy {{ all {{}} }} version_labels {{ key: 'stable' value: {} }}"
    assert one.error(lambda: one.start(both.format(1))).startswith(UNAVAILABLE.format(1))
    one.start("m: model_version_policy { all {} }")
    one.becomes({2: "AVAILABLE", 1: "AVAILABLE"})
    one.reload(both.format(1))
    assert one.asked(label="stable") == 1
    assert one.error(lambda: one.reload(both.format(3))).startswith(UNAVAILABLE.format(3))
    assert one.asked(label="stable") == 1
    one.reload(both.format(2))
    assert one.asked(label="stable") == 2
    one.reload("m:")
    assert one.error(lambda: one.asked(label="stable")) == (
        "INVALID_ARGUMENT: Unrecognized servable version label: stable"
    )


@pytest.mark.rule("6.7", "1.2")
def test_a_new_label_may_be_early_with_the_flag_but_an_old_one_may_not_move(make: Callable[..., Offline]) -> None:
    one = make(early_labels=True, poll_s=1)
    one.add("m", 1)
    early = "m: version_labels {{ key: 'stable' value: 1 }} version_labels {{ key: 'early' value: {} }}"
    one.start(early.format(7))
    error = one.error(lambda: one.asked(label="early"))
    assert error == "NOT_FOUND: Servable not found for request: Specific(m, 7)"
    one.reload(early.format(7))  # the same again
    assert one.error(lambda: one.reload(early.format(8))).startswith(UNAVAILABLE.format(8))
    one.reload(early.format(1))
    assert one.asked(label="early") == 1


@pytest.mark.rule("6.7", "3.12")
def test_a_rejected_config_counts_as_the_one_before_the_next(make: Callable[..., Offline]) -> None:
    one = make(poll_s=1)
    one.add("m", 1)
    one.add("p", 1)
    one.start("m:")
    error = one.error(lambda: one.reload("m:\np: model_platform: 'P'"))
    assert error == "INVALID_ARGUMENT: Model p requests unsupported platform P"
    changed = "INVALID_ARGUMENT: Illegal to change a model's platform. For model p platform was P and new platform "
    assert one.error(lambda: one.reload("m:\np:")).startswith(changed)
    one.reload("m:")
    one.reload("m:\np:")
    assert one.asked("p") == 1


@pytest.mark.rule("3.12")
def test_an_empty_config_is_the_first_but_never_a_later_one(make: Callable[..., Offline]) -> None:
    one = make(poll_s=1)
    empty = model_server_config_pb2.ModelServerConfig()
    assert one.models.accept(empty) is None
    one.add("m", 1)
    one.reload("m:")
    assert one.asked() == 1
    error = one.error(lambda: one.models.reload(empty, lambda: True))
    assert error.startswith("FAILED_PRECONDITION: Cannot transition to requested config.")
    one.reload("")
    one.becomes({1: "END"})


def test_nothing_is_waited_for_when_no_model_is_configured(make: Callable[..., Offline]) -> None:
    one = make()
    one.start("")
    assert one.error(one.asked) == "NOT_FOUND: Servable not found for request: Latest(m)"
