"""What people and scripts see: progress on a terminal, plain lines elsewhere, JSON lines with --json."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from pipeline.events import Error, Event, Note, StageFinished, StageReused, StageStarted, Trained
from pipeline.events import Progress as Step
from pipeline.report.speed import Speed, said
from pipeline.report.words import told

Mode = Literal["auto", "json", "quiet"]

# a plain log gets a line of progress at most this often
PLAIN_EVERY_S = 5.0


class Streams:
    """The process's stdout and stderr, kept for us while the libraries' chatter goes to a log."""

    def __init__(self) -> None:
        self.out: IO[str] = sys.stdout
        self.err: IO[str] = sys.stderr

    @contextmanager
    def chatter_to(self, log: Path) -> Iterator[None]:
        """Send what anybody writes to file descriptors 1 and 2 into the log; `out` and `err` stay with the user.

        Descriptors, not sys.stdout: TensorFlow, oneDNN and LoadGen write from C++, and child processes inherit.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        kept = os.dup(1), os.dup(2)
        before = self.out, self.err
        self.out, self.err = (os.fdopen(copy, "w", 1, "utf-8", "replace", closefd=False) for copy in kept)
        try:
            with log.open("ab", buffering=0) as file:
                file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} ---\n".encode())
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            yield
        finally:
            for stream in (sys.stdout, sys.stderr, self.out, self.err):
                with suppress(OSError, ValueError):  # a full disk takes the log with it
                    stream.flush()
            self.out, self.err = before
            for copy, descriptor in zip(kept, (1, 2), strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)


class Reporter:
    """Shows a run's events in one of the modes; `emit` takes them."""

    def __init__(self, streams: Streams, mode: Mode) -> None:
        self._streams = streams
        self._mode = mode
        self._console = Console(file=streams.err, highlight=False, soft_wrap=True)
        self._live = mode == "auto" and streams.err.isatty() and not os.environ.get("CI")
        self._bars = Progress(
            SpinnerColumn(), TextColumn("[bold]{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"), TimeRemainingColumn(compact=True),
            # whatever room is left: long metrics must not squeeze the bar
            TextColumn("[dim]{task.fields[detail]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            console=self._console, transient=True, expand=True, disable=not self._live,
            # what libraries print goes to the log, not above the bars
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}
        self._said = 0.0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw while the run goes."""
        with self._bars:
            yield

    def emit(self, event: Event) -> None:
        """Show one event; the log gets all but the progress."""
        if not isinstance(event, Step):
            with suppress(OSError):
                # past Python's buffer: on a full disk it would keep the line and show it to the user later
                os.write(2, f"{time.strftime('%H:%M:%S')} {event}\n".encode())
        if self._mode == "json":
            line = json.dumps({"event": _snake(type(event).__name__), **dataclasses.asdict(event)})
            print(line, file=self._streams.out, flush=True)
        if isinstance(event, Error):  # in every mode, as what ends a command is
            self._line(f"[red]error: {escape(event.message)}[/]")
        elif self._mode == "auto":
            self._show(event)

    def _show(self, event: Event) -> None:
        match event:
            case StageStarted(stage, reason):
                self._said = time.monotonic()
                self._line(f"[bold]{stage}[/]: runs, {escape(reason)}")
            case StageReused(stage, reason):
                self._line(f"[bold]{stage}[/]: [green]reused[/], {escape(reason)}")
            case StageFinished(stage, seconds, metrics):
                self._drop_bars()
                self._line(f"[bold]{stage}[/]: [green]done[/] in {seconds:.1f} s {_metrics(metrics)}")
            case Note(stage, text, level):
                colour = "yellow" if level == "warning" else "dim"
                self._line(f"[bold]{stage}[/]: [{colour}]{escape(text)}[/]")
            case Trained(stage, speed, item):
                text = said(Speed.model_validate(speed))
                self._line(f"[bold]{stage}[/]: [dim]{escape(f'{item}: {text}' if item else text)}[/]")
            case Step():
                self._step(event)

    def _step(self, step: Step) -> None:
        detail = escape(f"{step.item} {_metrics(step.metrics)}".strip())
        if self._live:
            fields: dict[str, Any] = {"total": step.total, "unit": step.unit, "detail": detail}
            if step.unit not in self._tasks:
                self._tasks[step.unit] = self._bars.add_task(step.stage, **fields)
            self._bars.update(self._tasks[step.unit], completed=step.done, **fields)
        elif time.monotonic() - self._said >= PLAIN_EVERY_S:
            self._said = time.monotonic()
            self._line(f"{step.stage}: {step.unit} {step.done}/{step.total} {detail}")

    def _drop_bars(self) -> None:
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._tasks.clear()

    def _line(self, text: str) -> None:
        self._console.print(text)


def _metrics(metrics: Mapping[str, float]) -> str:
    parts = told(metrics)
    # a part of several words needs a comma behind it
    return (", " if any(part.count(" ") > 1 for part in parts) else " ").join(parts)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
