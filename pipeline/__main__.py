"""The command's first lines: from here on a signal is a message and exit 130, also while all the rest is imported."""

from __future__ import annotations

import os
import signal
import sys

from pipeline.stopping import SIGNALS


def main() -> None:
    """Run the command `modelmill`."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup asks for
            signal.signal(number, _stop)
    # looking for plugins, of which we use none, takes reading what every installed package says of itself
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from pipeline import cli

    cli.main()


def _stop(*_: object) -> None:
    sys.stderr.write("stopped\n  what to do: run the same command again\n")
    sys.stderr.flush()
    os._exit(130)  # nothing has begun that would have to be put in order


if __name__ == "__main__":
    main()
