"""One image file to one array, by Pillow: what its header says, and its pixels in the size and colours asked for."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.sources.image_config import Color

if TYPE_CHECKING:
    import numpy as np

CHANNELS: dict[Color, int] = {"rgb": 3, "grayscale": 1}

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
# by content, whatever the name says
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")

# a header may claim any size, and a small file can unpack to it
MOST_PIXELS = 100_000_000

_GREY = frozenset({"1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N"})
_TRANSPARENT = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
# 32-bit integers and floats, whose black and white nobody says
_OPEN_RANGE = frozenset({"I", "F"})

_ORIENTATION = 0x0112
# orientations that lay an image on its side
_ON_ITS_SIDE = (5, 6, 7, 8)

# chunks of a PNG that may have an orientation
_TELLING = frozenset({b"eXIf", b"tEXt", b"zTXt", b"iTXt"})

_UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, ArithmeticError, AttributeError,
    MemoryError, RuntimeError, NotImplementedError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be decoded, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Header:
    """What an image's header says.

    Attributes:
        size: height and width, turned as its EXIF orientation says.
        grey: whether it has no colours.
        transparent: whether it has an alpha channel, or a colour that is transparent.
        turned: whether its EXIF orientation turns or mirrors it.
    """

    size: tuple[int, int]
    grey: bool
    transparent: bool
    turned: bool


@dataclass(frozen=True)
class Decoded:
    """An image: what its header says, and its pixels, uint8 [height, width, channels]."""

    header: Header
    pixels: np.ndarray


def look(path: Path) -> Header | Unreadable:
    """Return what an image's header says, its pixels unread."""
    try:
        with _opened(path) as image:
            return _header(image)
    except _UNREADABLE as error:
        return Unreadable(path, _reason(error))


# what `decode` does, step by step, for a program that does the same in another language
DECODING = (
    "turn or mirror it as its EXIF orientation says", "of 16 bits a channel keep the upper 8",
    "lay what is transparent on white", "bring it to the channels of the shape; grey is 0.299 R + 0.587 G + 0.114 B",
    "resize it to the height and width of the shape, bilinear with antialiasing (each pixel is a weighted mean of all "
    "that it covers); its aspect ratio is not kept, nothing is cropped or padded",
)  # fmt: skip


def decode(path: Path, size: tuple[int, int], color: Color) -> Decoded | Unreadable:
    """Return an image, the first picture of an animation.

    DECODING says how.

    Args:
        size: height and width.
    """
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with _opened(path) as image:
            header, mode = _header(image), "RGB" if color == "rgb" else "L"
            image.load()
            shown: Any = ImageOps.exif_transpose(image) if header.turned else image
            if shown.mode.startswith("I;16"):
                shown = Image.fromarray((np.asarray(shown) >> 8).astype(np.uint8))
            if header.transparent:
                shown = shown.convert("RGBA")
                white = Image.new("RGBA", shown.size, (255, 255, 255, 255))
                shown = Image.alpha_composite(white, shown)
            if shown.mode != mode:
                shown = shown.convert(mode)
            if shown.size != size[::-1]:
                shown = shown.resize(size[::-1], Image.Resampling.BILINEAR)
            pixels = np.frombuffer(shown.tobytes(), np.uint8).reshape(*size, CHANNELS[color])
            return Decoded(header, pixels)
    except _UNREADABLE as error:
        return Unreadable(path, _reason(error))


def _header(image: Any) -> Header:
    turn = _exif(image).get(_ORIENTATION, 1)
    width, height = image.size
    size = (width, height) if turn in _ON_ITS_SIDE else (height, width)
    transparent = image.mode in _TRANSPARENT or "transparency" in image.info
    return Header(size, image.mode in _GREY, transparent, turn in range(2, 9))


def _exif(image: Any) -> Any:
    """Return the EXIF tags; of a PNG its pixels are read for them only where they stand behind these.

    Pillow's own getexif() reads the pixels of each PNG without such tags, to see what comes behind.
    """
    from PIL import Image

    if image.format != "PNG":
        return image.getexif()
    if _tells_more(image.fp):
        image.load()
    return Image.Image.getexif(image)


def _tells_more(file: Any) -> bool:
    """Return whether a PNG has tags or texts behind its pixels, by the headers of its chunks."""
    if file is None:  # all of it is read already
        return False
    before, behind, found = file.tell(), False, False
    file.seek(8)
    while not found and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        found = behind and kind in _TELLING
        behind = behind or kind == b"IDAT"
        file.seek(length + 4, 1)
    file.seek(before)
    return found


def _opened(path: Path) -> Any:
    from PIL import Image

    try:
        image = Image.open(path, formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise ValueError(_too_large(str(error))) from None
    width, height = image.size
    if width * height > MOST_PIXELS:
        image.close()
        raise ValueError(_too_large(f"{width}x{height}"))
    if image.mode in _OPEN_RANGE:
        image.close()
        raise ValueError("32-bit values, of which nobody says what is white")
    return image


def _too_large(found: str) -> str:
    return f"claims more than {MOST_PIXELS // 10**6} million pixels ({found}), which would fill the memory"


def _reason(error: BaseException) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "no image of a known format"
    said = getattr(error, "strerror", None) or (str(error).splitlines() or [""])[0] or type(error).__name__
    return str(said)[:120]
