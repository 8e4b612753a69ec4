"""The wire format of protocol buffers, as far as trackers need it: fields by number, without a schema."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["fields", "signed", "varint", "zigzag"]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


def varint(data: bytes, at: int) -> tuple[int, int]:
    """(the number that begins at `at`, where the next field begins).

    Raises:
        ValueError: the number does not end.
    """
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number without an end")


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field: an integer of a varint, else its bytes.

    Raises:
        ValueError: the bytes are no message.
    """
    at, end = 0, len(data)
    while at < end:
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = varint(data, at)
            yield tag >> 3, value
            continue
        if kind == LENGTH:
            size, at = varint(data, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"a field of unknown kind {kind}")
        if at + size > end:
            raise ValueError("a field that is longer than its message")
        yield tag >> 3, data[at : at + size]
        at += size


def signed(value: int) -> int:
    """A varint that was written as a signed 64-bit number."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def zigzag(value: int) -> int:
    """A varint that was written as sint64."""
    return (value >> 1) ^ -(value & 1)
