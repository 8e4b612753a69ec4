"""CRC-32C (Castagnoli), which the standard library lacks: RFC 3720, appendix B.4."""

from __future__ import annotations

__all__ = ["crc32c"]

_POLYNOMIAL = 0x82F63B78


def _tables() -> list[list[int]]:
    """Tables for four bytes at a time."""
    first: list[int] = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        first.append(value)
    tables = [first]
    for _ in range(3):
        tables.append([(value >> 8) ^ first[value & 0xFF] for value in tables[-1]])
    return tables


_T0, _T1, _T2, _T3 = _tables()


def crc32c(data: bytes) -> int:
    """The checksum of `data`; of b"123456789" it is 0xE3069283."""
    crc = 0xFFFFFFFF
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        crc ^= int.from_bytes(data[at : at + 4], "little")
        crc = _T3[crc & 0xFF] ^ _T2[(crc >> 8) & 0xFF] ^ _T1[(crc >> 16) & 0xFF] ^ _T0[crc >> 24]
    for byte in data[whole:]:
        crc = (crc >> 8) ^ _T0[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
