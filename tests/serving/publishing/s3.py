"""A server that speaks S3, for tests: moto's, in this process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-central-1"}


@dataclass(frozen=True)
class Bucket:
    """A bucket that is there.

    Attributes:
        address: of the server, http://HOST:PORT.
    """

    address: str
    name: str

    def store(self) -> Any:
        """Return an fsspec file system of its own."""
        import fsspec

        return fsspec.filesystem(
            "s3", key=KEYS["AWS_ACCESS_KEY_ID"], secret=KEYS["AWS_SECRET_ACCESS_KEY"], endpoint_url=self.address,
            client_kwargs={"region_name": KEYS["AWS_DEFAULT_REGION"]}, skip_instance_cache=True,
        )  # fmt: skip


@contextmanager
def serving() -> Iterator[Bucket]:
    """Serve an empty bucket until the block ends."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # what moto has is the process's, whichever server is asked
        bucket = Bucket(f"http://{host}:{port}", f"bucket-{port}")
        bucket.store().mkdir(bucket.name)
        yield bucket
    finally:
        server.stop()
