"""How a command ends that did not go well: signals and foreign exceptions become errors of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from pipeline.errors import ModelmillError, RunError, StoppedError, translate_os_error
from pipeline.stopping import interruptible


@contextmanager
def told(as_json: bool) -> Iterator[None]:
    """Translate what ends a command inside the block, which signals may interrupt; with --json an event tells it.

    Raises:
        ModelmillError: whatever came, as an error of ours.
    """
    try:
        with interruptible():
            yield
    except KeyboardInterrupt:
        raise StoppedError("stopped", todo="run the same command again") from None
    except (ModelmillError, OSError) as error:
        known = error if isinstance(error, ModelmillError) else about_a_file(error)
        if as_json:
            typer.echo(json.dumps({"event": "error", "message": str(known), "exit_code": known.exit_code}))
        raise known from error


def about_a_file(error: OSError) -> ModelmillError:
    """Return the error for what the operating system refused."""
    known = translate_os_error(error)
    return known or RunError(f"cannot use {error.filename or 'a file'}", found=error.strerror or str(error))
