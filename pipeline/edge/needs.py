"""What the section edge asks for by name, and this machine may lack."""

from __future__ import annotations

from pipeline.edge.config import Config


def require(config: Config) -> None:
    """Check that it is all there.

    Raises:
        MissingError: an extra, or the program of edge.command.
    """
    from pipeline.edge import device, micro, vela

    if config.device_runtime == "tflite-micro":
        micro.require()
    if config.npus:
        vela.require()
    if config.command is not None:
        device.require(config.command)
