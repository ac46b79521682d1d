"""--from STAGE, stopped and called again."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import StoppedError
from pipeline.stage import Job, Result
from tests.pipeline.line import Line


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    return Line(tmp_path, monkeypatch)


def interrupted_in(name: str, line: Line) -> None:
    """Let the line's --from train be stopped within a stage."""

    def stop(job: Job) -> None:
        if job.folder.parent.name.startswith(name):
            (job.work / "checkpoint").write_text("epoch 3", encoding="utf-8")
            raise KeyboardInterrupt

    line.before = stop
    with pytest.raises(StoppedError):
        line.go(first="train")
    line.before = lambda _job: None


def test_interrupted_from_goes_on_and_begins_nothing_again(line: Line) -> None:
    line.go()
    interrupted_in("train", line)
    line.during = lambda job: Result({"found": float((job.work / "checkpoint").exists())})
    interrupted_in("export", line)
    assert line.reasons()["train"] == "asked for by --from; goes on from unfinished work"
    report = line.go(first="train")
    assert [stage.status for stage in report.stages] == ["reused", "run"]
    assert report.stages[0].metrics == {"found": 1.0}
    assert line.reasons()["export"] == "asked for by --from; goes on from unfinished work"
    line.go(first="train")  # the command has ended well: now it is another one
    assert line.reasons() == {"train": "asked for by --from", "export": "asked for by --from"}


def test_another_from_goes_on_with_nothing_of_an_interrupted_one(line: Line) -> None:
    line.go()
    interrupted_in("export", line)
    line.go(first="export")
    assert line.reasons()["export"] == "asked for by --from"
    line.go()
    assert line.calls == []
