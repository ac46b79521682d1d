"""Reads the files that flags name: messages in protobuf's text format."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from serving.server.status import invalid, not_found


def read(file: Path | str, message: Any) -> None:
    """Fill an empty message with what a file says; what is wrong in it is told on stderr, as TensorFlow Serving does.

    Raises:
        StatusError: the file cannot be read, or is no such message.
    """
    from google.protobuf import text_format

    try:
        text = Path(file).read_bytes()
    except OSError as error:
        raise not_found(f"{file}; {error.strerror}") from None
    try:
        text_format.Parse(text, message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        kind = message.DESCRIPTOR.full_name
        print(f"Error parsing text-format {kind}: {error}", file=sys.stderr, flush=True)
        raise invalid(f"Invalid protobuf file: '{file}'") from None
