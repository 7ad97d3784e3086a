"""Writes small Nsight Compute reports: the counterpart of `llm_perf_opt.formats.ncu_rep`."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode(*fields: tuple[int, int | float | str | bytes]) -> bytes:
    """A protobuf message; int as varint, float as double, str and bytes with their length."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        elif isinstance(value, float):
            out += varint(number << 3 | 1) + struct.pack("<d", value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def sized(message: bytes) -> bytes:
    return struct.pack("<I", len(message)) + message


def metric(name_id: int, value: int | float | str | None) -> bytes:
    if value is None:
        return encode((1, name_id))
    number = {str: 1, float: 3, int: 5}[type(value)]
    return encode((1, name_id), (2, encode((number, value))))


def rule(name: str, section: str, *items: bytes) -> bytes:
    """A result of a rule; `items` are those of its body."""
    return encode((1, name), (2, "shown name"), (3, encode(*((1, item) for item in items))), (4, section))


def kernel(
    name: str,
    metrics: Mapping[int, int | float | str | None],
    *,
    section: bytes = b"skipped",
    rules: Sequence[bytes] = (),
) -> bytes:
    """A kernel result with grid (3, 2, 1), block (128, 1, 1), context 1 and stream 7."""
    fields: list[tuple[int, int | float | str | bytes]] = [
        (1, 10),
        (6, name.split("(", maxsplit=1)[0]),
        (7, name),
        (10, encode((1, 3), (2, 2), (3, 1))),
        (11, encode((1, 128), (2, 1), (3, 1))),
        *((13, metric(name_id, value)) for name_id, value in metrics.items()),
        (17, section),
        *((19, item) for item in rules),
        (22, 1),
        (23, 7),
    ]
    return encode(*fields)


def block(
    *,
    sources: Sequence[bytes] = (),
    kernels: Sequence[bytes] = (),
    ranges: Sequence[bytes] = (),
    strings: Iterable[str] = (),
    process: tuple[int, str, str] | None = (42, "host", "/opt/bin/python"),
) -> bytes:
    payload = b"".join(sized(message) for message in (*sources, *kernels, *ranges))
    fields: list[tuple[int, int | float | str | bytes]] = [(1, len(sources)), (2, len(kernels))]
    fields.append((4, encode(*((1, text) for text in strings))))
    fields.append((5, len(payload)))
    if process is not None:
        fields.append((6, encode((1, process[0]), (2, process[1]), (3, process[2]))))
    fields.append((7, len(ranges)))
    return sized(encode(*fields)) + payload


def report(*blocks: bytes, version: int = 7) -> bytes:
    return b"NVR\0" + sized(encode((1, version))) + b"".join(blocks)
