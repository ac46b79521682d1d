"""`python -m serving.server --name=value ...`: takes the flags of tensorflow_model_server."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import signal
import sys
import traceback

from serving.server import flags
from serving.server.status import StatusError

FAILED = 255
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main(arguments: list[str]) -> int:
    """Run the server; return the exit status (rules 1.1 and 1.4)."""
    parsed = flags.parse(arguments)
    usage = flags.usage("python -m serving.server")
    if parsed.bad:
        print(usage)
        return FAILED
    if "--help" in parsed.unknown:
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


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # threads that load a model or wait for a client do not keep it
