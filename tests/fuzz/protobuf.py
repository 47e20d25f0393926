"""Damaged protobuf messages whose lengths are right, so that the damage is met deep inside."""

import random

from forewarn.onnx_file import _LAYOUT

Fields = list[tuple[int, int, "int | bytes | Fields"]]
_WHOLE = (0, 1, 2, 3, 6, 7, 8, 17, 127, 128, 256, 2**31, 2**32 + 1, 2**62, 2**63, 2**64 - 1)


def decode(data: bytes, kind: str) -> Fields:
    """Number, wire type and value of each field of a message that is well formed."""
    fields: Fields = []
    at = 0
    while at < len(data):
        tag, at = _read(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _read(data, at)
            fields.append((number, wire, value))
            continue
        size, at = _read(data, at) if wire == 2 else (4, at)
        part = data[at : at + size]
        _, of = _LAYOUT[kind][number]
        inner = of[0] if isinstance(of, list) else of
        fields.append((number, wire, decode(part, inner) if isinstance(inner, str) else part))
        at += size
    return fields


def encode(fields: Fields) -> bytes:
    """The message."""
    parts = []
    for number, wire, value in fields:
        tag = _varint(number << 3 | wire)
        if isinstance(value, int):
            parts.append(tag + _varint(value))
        else:
            content = encode(value) if isinstance(value, list) else value
            parts.append(tag + (_varint(len(content)) if wire == 2 else b"") + content)
    return b"".join(parts)


def damaged(fields: Fields, generator: random.Random) -> Fields:
    """A copy with one change, at a random depth."""
    fields = list(fields)
    if not fields:
        return fields
    at = generator.randrange(len(fields))
    number, wire, value = fields[at]
    if isinstance(value, list) and generator.random() < 0.9:
        fields[at] = number, wire, damaged(value, generator)
        return fields
    change = generator.randrange(6)
    if change == 0:
        del fields[at]
    elif change == 1:
        fields.insert(generator.randint(0, len(fields)), fields[at])
    elif change == 2:
        fields[at] = generator.choice(fields)
    elif change == 3:
        fields[at] = generator.randrange(1, 30), wire, value
    elif isinstance(value, int):
        fields[at] = number, wire, generator.choice(_WHOLE)
    elif isinstance(value, bytes):
        fields[at] = number, wire, _bytes(value, generator)
    return fields


def _bytes(value: bytes, generator: random.Random) -> bytes:
    text = bytearray(value)
    if not text or generator.random() < 0.2:
        return generator.choice((b"", b"window", b"Gemm", b"Reshape", b"MatMul", b"\xff", value * 2, value[:-1]))
    text[generator.randrange(len(text))] = generator.randrange(256)
    return bytes(text)


def _read(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])
