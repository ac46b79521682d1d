from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from pipeline.data.sources import images
from pipeline.data.sources.images import Decoded, Header, Unreadable

RAMP = np.add.outer(np.arange(6) * 20, np.arange(8) * 10).astype(np.uint8)


def decoded(path: Path, size: tuple[int, int] = (6, 8), color: Any = "grayscale") -> np.ndarray:
    found = images.decode(path, size, color)
    assert isinstance(found, Decoded), found
    assert found.header == images.look(path)
    return found.pixels


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".tiff", ".webp", ".jpg"])
def test_formats_give_the_pixels_that_went_in(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"ramp{suffix}"
    Image.fromarray(RAMP).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    exact = suffix != ".jpg"
    np.testing.assert_allclose(decoded(path)[..., 0].astype(int), RAMP, atol=0 if exact else 12)
    assert decoded(path, color="rgb").shape == (6, 8, 3)


def test_content_decides_the_format_and_not_the_name(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(decoded(tmp_path / "a.jpg")[..., 0], RAMP)


def test_sixteen_bits_become_eight_by_their_upper_half(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 256 + 77).save(tmp_path / "a.png")
    assert np.array_equal(decoded(tmp_path / "a.png")[..., 0], RAMP)
    header = images.look(tmp_path / "a.png")
    assert isinstance(header, Header)
    assert header.grey


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_values_of_unknown_range_are_not_guessed(dtype: Any, tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(dtype)).save(tmp_path / "a.tiff")
    found = images.decode(tmp_path / "a.tiff", (6, 8), "rgb")
    assert found == Unreadable(tmp_path / "a.tiff", "32-bit values, of which nobody says what is white")


def test_palettes_give_their_colours(tmp_path: Path) -> None:
    colours = np.zeros((6, 8, 3), np.uint8)
    colours[:, :4] = (255, 0, 0)
    colours[:, 4:] = (0, 0, 255)
    Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a.png")
    assert np.array_equal(decoded(tmp_path / "a.png", color="rgb"), colours)


def test_what_is_transparent_lies_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((6, 8, 4), np.uint8)
    pixels[:3] = (200, 100, 50, 255)
    pixels[3:] = (7, 7, 7, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = decoded(tmp_path / "a.png", color="rgb")
    assert (found[:3] == (200, 100, 50)).all()
    assert (found[3:] == 255).all()


@pytest.mark.parametrize(("turn", "expected"), [(3, RAMP[::-1, ::-1]), (6, np.rot90(RAMP, -1)), (8, np.rot90(RAMP))])
def test_images_are_turned_as_exif_says(turn: int, expected: np.ndarray, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(RAMP).save(tmp_path / "a.png", exif=exif)
    header = images.look(tmp_path / "a.png")
    assert isinstance(header, Header)
    assert (header.size, header.turned) == (expected.shape, True)
    assert np.array_equal(decoded(tmp_path / "a.png", expected.shape)[..., 0], expected)


def test_first_picture_of_an_animation_counts(tmp_path: Path) -> None:
    first, second = (Image.new("L", (8, 6), value) for value in (40, 200))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert (decoded(tmp_path / "a.gif") == 40).all()


def _claims(width: int, height: int) -> bytes:
    """Return a PNG of 100 bytes that says it is this large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (11_000, 10_000)])
def test_image_that_claims_to_be_huge_is_not_decoded(width: int, height: int, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_claims(width, height))
    for found in (images.look(tmp_path / "a.png"), images.decode(tmp_path / "a.png", (8, 8), "rgb")):
        assert isinstance(found, Unreadable)
        assert found.reason.startswith("claims more than 100 million pixels")


@pytest.mark.parametrize("cut", [0, 5, 40, 200, -400])
def test_damaged_image_has_a_reason(cut: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:cut])
    found = images.decode(tmp_path / "a.png", (6, 8), "rgb")
    assert isinstance(found, Unreadable)
    assert found.reason


def test_pixels_of_a_png_are_not_read_for_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")

    def load(_image: Any) -> None:
        raise AssertionError("the pixels are read")

    monkeypatch.setattr(PngImageFile, "load", load)
    assert images.look(tmp_path / "a.png") == Header((6, 8), grey=True, transparent=False, turned=False)


def test_png_is_turned_as_exif_behind_its_pixels_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RAMP).save(tmp_path / "a.png", exif=exif)
    before = decoded(tmp_path / "a.png", (8, 6))
    content = (tmp_path / "a.png").read_bytes()
    begin = content.index(b"eXIf") - 4
    (length,) = struct.unpack_from(">I", content, begin)
    chunk, rest = content[begin : begin + 12 + length], content[begin + 12 + length :]
    end = rest.index(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(content[:begin] + rest[:end] + chunk + rest[end:])
    assert images.look(tmp_path / "a.png") == Header((8, 6), grey=True, transparent=False, turned=True)
    assert np.array_equal(decoded(tmp_path / "a.png", (8, 6)), before)
