"""Picture files as arrays, with the standard library and NumPy: PNG, PGM, PPM and BMP of eight bits per channel."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["ENDINGS", "MOST_PIXELS", "read_picture"]

ENDINGS = (".png", ".pgm", ".ppm", ".bmp")
MOST_PIXELS, LONGEST_SIDE = 1 << 26, 1 << 15
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

Bytes = NDArray[np.uint8]


def read_picture(path: Path) -> Bytes:
    """A picture's pixels, shape (height, width, 1) grey or (height, width, 3) red, green, blue. Transparency is left out.

    Read are PNG of eight bits per channel that is not interlaced (grey, colour or palette, with or without transparency), PGM
    and PPM in their binary form (P5, P6) with up to 256 levels, and BMP of 24 or 32 bits without compression.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is none of these, damaged, or too large; the message says which.
    """
    content = path.read_bytes()
    try:
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(content)
        if content[:2] in (b"P5", b"P6"):
            return _pnm(content)
        if content[:2] == b"BM":
            return _bmp(content)
    except (struct.error, zlib.error, IndexError) as error:
        raise ValueError(f"it is damaged: {error}") from error
    raise ValueError("it is not PNG, binary PGM or PPM, or BMP")


def _checked(width: int, height: int) -> None:
    if min(width, height) < 1 or max(width, height) > LONGEST_SIDE or width * height > MOST_PIXELS:
        raise ValueError(f"{width} x {height} pixels are not read; sides to {LONGEST_SIDE} and {MOST_PIXELS} pixels are")


def _png(content: bytes) -> Bytes:
    """PNG (ISO/IEC 15948): chunks of length, name, content and checksum; rows deflated, each with its filter's number first."""
    packed: list[bytes] = []
    head: tuple[int, ...] = ()
    palette = np.zeros((0, 3), np.uint8)
    place = 8
    while place < len(content):
        (length,), name = struct.unpack_from(">I", content, place), content[place + 4 : place + 8]
        body = content[place + 8 : place + 8 + length]
        place += 12 + length
        if name == b"IHDR":
            head = struct.unpack(">IIBBBBB", body)
        elif name == b"PLTE":
            palette = np.frombuffer(body, np.uint8).reshape(-1, 3)
        elif name == b"IDAT":
            packed.append(body)
        elif name == b"IEND":
            break
    if not head:
        raise ValueError("it is damaged: no header")
    width, height, depth, colour, *_, interlaced = head
    _checked(width, height)
    if depth != 8 or colour not in CHANNELS or interlaced:
        raise ValueError(f"PNG of {depth} bits{' interlaced' if interlaced else ''} is not read; eight bits, not interlaced, is")
    channels = CHANNELS[colour]
    rows = _unpacked(b"".join(packed), height * (width * channels + 1)).reshape(height, -1)
    pixels = _unfiltered(rows[:, 0], rows[:, 1:].reshape(height, width, channels))
    if colour == 3:
        if pixels.max() >= len(palette):
            raise ValueError("it is damaged: a colour outside the palette")
        return palette[pixels[..., 0]]
    return pixels[..., : 3 if channels > 2 else 1]


def _unpacked(packed: bytes, size: int) -> Bytes:
    """Exactly `size` inflated bytes, and never more in memory."""
    raw = zlib.decompressobj().decompress(packed, size)
    if len(raw) != size:
        raise ValueError(f"it is damaged: {len(raw)} bytes of {size}")
    return np.frombuffer(raw, np.uint8)


def _unfiltered(filters: Bytes, rows: Bytes) -> Bytes:
    """Undo PNG's filters. A pixel's prediction is of its left, upper and upper left neighbours: all pixels (y, x) of one
    t = y + x follow from those of t - 1 and t - 2, so that a picture takes height + width steps in place of one a pixel."""
    if filters.max() > 4:
        raise ValueError(f"it is damaged: filter {filters.max()}")
    height, width, channels = rows.shape
    pixels = np.empty_like(rows)
    # Row y + 1 holds the pixel of row y with t - 1, and with t - 2; outside the picture it is 0.
    last, before_last = np.zeros((2, height + 1, channels), np.int16)
    for t in range(height + width - 1):
        low, high = max(0, t - width + 1), min(t + 1, height)
        y = np.arange(low, high)
        left, up, corner = last[low + 1 : high + 1], last[low:high], before_last[low:high]
        toward = left + up - corner
        to_left, to_up, to_corner = np.abs(toward - left), np.abs(toward - up), np.abs(toward - corner)
        nearest = np.where((to_left <= to_up) & (to_left <= to_corner), left, np.where(to_up <= to_corner, up, corner))
        kind = filters[y, None]
        guess = np.select([kind == 1, kind == 2, kind == 3, kind == 4], [left, up, (left + up) // 2, nearest], 0)
        now = (rows[y, t - y] + guess) & 255
        pixels[y, t - y] = now
        before_last[low + 1 : high + 1] = left
        last[low + 1 : high + 1] = now
    return pixels


def _pnm(content: bytes) -> Bytes:
    """Netpbm's P5 and P6: width, height and largest value in words, with comments from # to the line's end; then the bytes."""
    words: list[int] = []
    place = 2
    while len(words) < 3:
        while content[place : place + 1].isspace():
            place += 1
        end = place
        if content[place : place + 1] == b"#":
            place = content.find(b"\n", place) + 1 or len(content)
            continue
        while content[end : end + 1].isdigit():
            end += 1
        if end == place:
            raise ValueError("it is damaged: no sizes")
        words.append(int(content[place:end]))
        place = end
    width, height, largest = words
    _checked(width, height)
    if not 0 < largest < 256:
        raise ValueError(f"{largest + 1} levels are not read; up to 256 are")
    channels = 1 if content[:2] == b"P5" else 3
    size = width * height * channels
    if len(content) < place + 1 + size:
        raise ValueError("it is damaged: it ends early")
    pixels = np.frombuffer(content, np.uint8, size, place + 1).reshape(height, width, channels)
    return pixels if largest == 255 else (np.minimum(pixels, largest) * (255 / largest)).round().astype(np.uint8)


def _bmp(content: bytes) -> Bytes:
    """BMP of 24 or 32 bits: rows from the bottom up (top down where the height is negative), blue first, padded to fours."""
    start, _, width, height, _, bits, packed = struct.unpack_from("<IIiiHHI", content, 10)
    _checked(width, abs(height))
    if bits not in (24, 32) or packed not in (0, 3):
        raise ValueError(f"BMP of {bits} bits{' with compression' if packed else ''} is not read; 24 or 32 bits without is")
    channels, stride = bits // 8, (width * bits // 8 + 3) // 4 * 4
    if len(content) < start + stride * abs(height):
        raise ValueError("it is damaged: it ends early")
    rows = np.frombuffer(content, np.uint8, stride * abs(height), start).reshape(abs(height), stride)
    pixels = rows[:, : width * channels].reshape(abs(height), width, channels)[..., 2::-1]
    return pixels[::-1] if height > 0 else pixels
