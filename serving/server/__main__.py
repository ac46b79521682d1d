"""`modelmill serve --name=value ...`, or `python -m serving.server`: takes the flags of tensorflow_model_server."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from serving.server import flags
from serving.server.status import StatusError

FAILED = 255
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main(arguments: Sequence[str], program: str) -> int:
    """Run the server; return the exit status (rules 1.1 and 1.4).

    Args:
        program: how it was called, for its usage.
    """
    parsed = flags.parse(arguments)
    usage = flags.usage(program)
    if parsed.bad:
        for argument in parsed.bad:
            print(f"Couldn't interpret {argument}: {flags.expected(argument)}", file=sys.stderr)
        print(usage)
        return FAILED
    if {"--help", "-h"} & set(parsed.unknown):
        print(usage)
        return 0
    if parsed.values.version:
        print(f"TensorFlow ModelServer: modelmill {importlib.metadata.version('modelmill')}")
        print(f"TensorFlow Library: {importlib.metadata.version('tensorflow')}")
        return 0
    if parsed.unknown:
        print(f"unknown argument: {parsed.unknown[0]}\n{usage}", flush=True)
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))  # until models are loaded, there is nothing to bring to an end
    form = "%(asctime)s.%(msecs)03d %(levelname).1s %(message)s"
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=form, datefmt="%Y-%m-%d %H:%M:%S")

    for argument in parsed.unknown:
        logging.warning("unknown argument: %s has no effect; flags are written --name=value", argument)

    from serving.server.serve import serve

    try:
        serve(parsed.values, SIGNALS)
    except StatusError as error:
        print(f"Failed to start server. Error: {error}", flush=True)
        return FAILED
    except Exception as error:  # noqa: BLE001  threads may still run: an exception out of here would wait for them
        traceback.print_exc()
        print(f"Failed to start server. Error: INTERNAL: {type(error).__name__}: {error}", flush=True)
        return FAILED
    return 0


def run(arguments: Sequence[str], program: str) -> NoReturn:
    """Run the server and end this process with its exit status."""
    status = main(arguments, program)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # threads that load a model or wait for a client do not keep it


if __name__ == "__main__":
    run(sys.argv[1:], "python -m serving.server")
