"""Damage to a file, drawn from a seeded generator: of any bytes, and of what each format is made of."""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import random
import re
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

Damage = Callable[[bytes, random.Random], bytes]

HOSTILE_NUMBERS = (
    "-1", "0", "1e308", "-1e308", "NaN", "Infinity", "0.5", "-0.0", "2147483648", "9223372036854775807",
    "18446744073709551616", "99999999999999999999999999", "1e-320", "007", "1_000", "0x10", "1,000",
)  # fmt: skip
HOSTILE_TEXTS = (
    "", "\x00", "\ud800", "../../../etc/passwd", "/dev/zero", "<script>alert(1)</script>", "%s%n", "\x1b[2J",
    "a" * 70_000, "${jndi:x}", "\u202e", "'; DROP TABLE StringIds; --", "NULL", "true", "\n\n| a | b |",
    "\N{BYTE ORDER MARK}",
)  # fmt: skip
HOSTILE_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1 << 31, 1 << 63, 1 << 64, 10**40, 1.5, -1e300, float("nan"), float("inf"), [], {}, [[]],
    [None], {"a": {}}, *HOSTILE_TEXTS,
)  # fmt: skip
HOSTILE_CELLS: tuple[Any, ...] = (
    None, -1, 0, 1.5, 1e300, -(1 << 63), (1 << 63) - 1, "", "text", "12", "1e5", b"\x00\xff", b"", "\x00", "a" * 70_000,
)  # fmt: skip
HOSTILE_WORDS = (0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
DEPTHS = (50, 500, 2_000, 30_000)


def any_bytes(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, or a stretch of them removed, repeated, cleared, moved or put in."""
    made = bytearray(data)
    if not made:
        return chance.randbytes(chance.randint(0, 100))
    start = chance.randrange(len(made))
    stop = min(len(made), start + int(2 ** chance.uniform(0, 12)))
    kind = chance.choice(("flip", "flip", "truncate", "remove", "repeat", "clear", "fill", "insert", "append", "swap"))
    if kind == "flip":
        for _ in range(chance.randint(1, 8)):
            made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
    elif kind == "truncate":
        del made[start:]
    elif kind == "remove":
        del made[start:stop]
    elif kind == "repeat":
        made[start:start] = made[start:stop] * chance.choice((1, 2, 50))
    elif kind in ("clear", "fill"):
        made[start:stop] = (b"\x00" if kind == "clear" else b"\xff") * (stop - start)
    elif kind == "insert":
        made[start:start] = chance.randbytes(stop - start)
    elif kind == "append":
        made += chance.choice((b"\n", b"\x00" * 100, bytes(made[:1000]), chance.randbytes(100)))
    else:
        other = chance.randrange(len(made))
        made[start], made[other] = made[other], made[start]
    return bytes(made)


def words(data: bytes, chance: random.Random) -> bytes:
    """Numbers of four or eight bytes in a binary file; most often near its start, where its counts and lengths are."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        size = chance.choice((1, 4, 8))
        reach = chance.choice((64, 4096, len(made)))
        if (last := min(len(made), reach) - size) >= 0:
            word = (chance.choice(HOSTILE_WORDS) & ((1 << (8 * size)) - 1)).to_bytes(size, "little")
            at = chance.randint(0, last)
            made[at : at + size] = word
    return bytes(made)


def texts(data: bytes, chance: random.Random) -> bytes:
    """Numbers, names and separators of a text."""
    made = data
    for _ in range(chance.randint(1, 4)):
        pattern = chance.choice((rb"-?\d+(\.\d+)?", rb"[A-Za-z_]{3,}", rb'[,:;{}\[\]"\t]', rb"[^\n]*\n"))
        found = list(re.finditer(pattern, made[:200_000]))
        if not found:
            continue
        place = chance.choice(found)
        if pattern.endswith(rb"\n"):
            new = chance.choice((b"", place[0] * 2, place[0] * 200, b"\n", chance.choice(found)[0]))
        elif pattern.startswith(rb"["):
            text = chance.choice(HOSTILE_TEXTS).encode(errors="surrogatepass")
            new = chance.choice((b"", text, b'"', b"\xff\xfe", chance.choice(found)[0]))
        else:
            new = chance.choice((*HOSTILE_NUMBERS, "", "x", '"1"', "null")).encode()
        made = made[: place.start()] + new + made[place.end() :]
    return made


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    found = []
    for key in keys:
        found.append((*path, key))
        found += _places(value[key], (*path, key))
    return found


def tree(value: Any, chance: random.Random) -> Any:
    """One to three places of a tree of mappings and lists, which is changed in place."""
    for _ in range(chance.randint(1, 3)):
        places = _places(value)
        if not places:
            return _hostile(chance)
        *above, key = chance.choice(places)
        holder = value
        for step in above:
            holder = holder[step]
        kind = chance.choice(("value", "value", "value", "remove", "rename", "repeat", "deep", "wrap", "move"))
        if kind == "value":
            holder[key] = _hostile(chance)
        elif kind == "remove":
            del holder[key]
        elif kind == "rename" and isinstance(holder, dict):
            holder[chance.choice(HOSTILE_TEXTS)] = holder.pop(key)
        elif kind == "repeat" and isinstance(holder, list):
            holder[key:key] = [holder[key]] * chance.choice((1, 3, 1000))
        elif kind == "wrap":
            holder[key] = chance.choice(([holder[key]], {"": holder[key]}))
        elif kind == "move":
            holder[key] = json.loads(json.dumps(_at(value, chance.choice(places)), default=str))
        elif kind == "deep":
            holder[key] = _DEEP
    return value


def _hostile(chance: random.Random) -> Any:
    """One of its own, since a later change may be inside it."""
    return copy.deepcopy(chance.choice(HOSTILE_VALUES))


_DEEP = "@deep@"


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _deepened(text: str, chance: random.Random, opening: str, closing: str) -> bytes:
    """`text` with what stands for depth made deep; encoded with what no UTF-8 has."""
    depth = chance.choice(DEPTHS)
    return text.replace(f'"{_DEEP}"', opening * depth + closing * depth).encode(errors="surrogatepass")


def json_tree(data: bytes, chance: random.Random) -> bytes:
    try:
        value = json.loads(data)
    except ValueError:
        return texts(data, chance)
    opening, closing = chance.choice((("[", "]"), ('{"a":', "}"), ("[", "")))
    return _deepened(json.dumps(tree(value, chance), ensure_ascii=chance.random() < 0.5), chance, opening, closing)


def json_lines(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines() or [b"{}"]
    at = chance.randrange(len(lines))
    lines[at] = json_tree(lines[at], chance)
    return b"\n".join(lines) + b"\n"


YAML_BOMBS = (
    b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
    b"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
    b"g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: &h [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n",
    b"a: &a\n  b: *a\n", b"!!python/object/apply:os.system ['true']\n", b"? {a: b}\n: c\n", b"a: 1\na: 2\n",
    b"---\n---\n", b"<<: *nothing\n", b"a: !!binary '='\n", b"a: 2001-99-99\n", b"\ta: b\n",
    b"a: " + b"9" * 5000 + b"\n",
    b"%YAML 9.9\n---\n",
    b"a: 1:2:3:4:5\n", b"a: !!timestamp x\n", b"a: !!int x\n", b"a: !!float '.'\n", b"a: _\n", b"a: 0b\n", b"a: 0x_\n",
)  # fmt: skip


def yaml_tree(data: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.1:
        return chance.choice((data, b"")) + chance.choice(YAML_BOMBS)
    try:
        value = yaml.safe_load(data)
    except yaml.YAMLError:
        return texts(data, chance)
    # JSON is YAML, but for a few characters: half of the files stay in the style in which people write.
    if chance.random() < 0.5:
        with contextlib.suppress(yaml.YAMLError):
            return yaml.safe_dump(tree(value, chance), sort_keys=False, allow_unicode=True).encode(
                errors="surrogatepass"
            )
    return _deepened(json.dumps(tree(value, chance), default=str), chance, "[", "]")


def csv_cells(data: bytes, chance: random.Random) -> bytes:
    """Cells, columns and rows of a table."""
    rows = [line.split(b",") for line in data.split(b"\n")]
    for _ in range(chance.randint(1, 3)):
        kind, row = chance.choice(("cell", "cell", "column", "row", "shuffle", "header")), chance.choice(rows)
        number = chance.choice((*HOSTILE_NUMBERS, "", '"', '"1,5"', "n/a", "1.234,5", "-")).encode()
        at = chance.randrange(len(row))
        if kind == "cell":
            row[at] = number
        elif kind == "column":
            for other in rows:
                if at < len(other):
                    other[at] = number
        elif kind == "row":
            rows.insert(chance.randrange(len(rows)), list(chance.choice(rows)))
        elif kind == "shuffle":
            chance.shuffle(row)
        else:
            rows[0][chance.randrange(len(rows[0]))] = chance.choice((b"", b"ID", b'"Kernel Name"', b"x" * 1000))
    return b"\n".join(b",".join(row) for row in rows)


def sql(data: bytes, chance: random.Random, folder: Path) -> bytes:
    """Values, rows, columns and tables of a database."""
    file = folder / "damaged.sqlite"
    file.write_bytes(data)
    with contextlib.closing(sqlite3.connect(file)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for _ in range(chance.randint(1, 3)):
            table = chance.choice([name for name in tables if name.startswith(_USED)] or tables)
            with contextlib.suppress(sqlite3.Error):
                _sql_statement(database, table, chance)
        database.commit()
    made = file.read_bytes()
    file.unlink()
    return made


_USED = ("CUPTI", "NVTX", "StringIds", "META", "TARGET", "operators", "kernels", "modules")


def _sql_statement(database: sqlite3.Connection, table: str, chance: random.Random) -> None:
    columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
    column = chance.choice(columns)
    kind = chance.choice(("all", "some", "some", "some", "delete", "drop", "rename", "column", "repeat", "view"))
    if kind in ("all", "some"):
        where = "" if kind == "all" else " WHERE rowid % ? = 0"
        values = (chance.choice(HOSTILE_CELLS), *(() if kind == "all" else (chance.choice((1, 2, 7)),)))
        database.execute(f'UPDATE "{table}" SET "{column}" = ?{where}', values)
    elif kind == "delete":
        database.execute(f'DELETE FROM "{table}"' + chance.choice(("", " WHERE rowid % 2 = 0")))
    elif kind == "drop":
        database.execute(f'DROP TABLE "{table}"')
    elif kind == "rename":
        database.execute(f'ALTER TABLE "{table}" RENAME COLUMN "{column}" TO "{column}x"')
    elif kind == "column":
        database.execute(f'ALTER TABLE "{table}" DROP COLUMN "{column}"')
    elif kind == "repeat":
        names = ", ".join(f'"{name}"' for name in columns)
        database.execute(f'INSERT INTO "{table}" ({names}) SELECT {names} FROM "{table}"')
    else:  # endless, for whoever does not stop it
        database.execute(f'ALTER TABLE "{table}" RENAME TO "{table}_"')
        endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
        cells = ", ".join(f'x AS "{name}"' for name in columns)
        database.execute(f'CREATE VIEW "{table}" AS {endless} SELECT {cells} FROM n')


def packed(damage: Damage) -> Damage:
    """`damage` to what a gzip file holds, and a few bytes of the file itself now and then."""

    def damaged(data: bytes, chance: random.Random) -> bytes:
        if chance.random() < 0.2:
            return any_bytes(data, chance)
        if chance.random() < 0.02:  # what unfolds without end
            return gzip.compress(gzip.decompress(data)[:-2] + b" " * (400 << 20), 1, mtime=0)
        return gzip.compress(damage(gzip.decompress(data), chance), 1, mtime=0)

    return damaged


def safetensors(data: bytes, chance: random.Random) -> bytes:
    """The header's tree, or its length."""
    if chance.random() < 0.3:
        return words(data, chance)
    length = struct.unpack("<Q", data[:8])[0]
    header = json_tree(data[8 : 8 + length], chance)
    said = len(header) if chance.random() < 0.8 else chance.choice(HOSTILE_WORDS)
    return struct.pack("<Q", said & ((1 << 64) - 1)) + header + data[8 + length :]


OF_FORMAT: dict[str, tuple[Damage, ...]] = {
    "json": (json_tree, json_tree, texts, any_bytes),
    "jsonl": (json_lines, texts, any_bytes),
    "json.gz": (packed(json_tree), packed(texts), any_bytes),
    "csv": (csv_cells, csv_cells, texts, any_bytes),
    "yaml": (yaml_tree, yaml_tree, texts, any_bytes),
    "gguf": (words, words, any_bytes),
    "ncu-rep": (words, any_bytes),
    "safetensors": (safetensors,),
    "sqlite": (words, any_bytes),
    "parquet": (words, any_bytes),
}


def damaged(kind: str, data: bytes, chance: random.Random, folder: Path) -> bytes:
    """`data` of that format, damaged; `folder` is for scratch."""
    try:
        if kind == "sqlite" and chance.random() < 0.7:
            return sql(data, chance, folder)
        return chance.choice(OF_FORMAT[kind])(data, chance)
    except (RecursionError, IndexError, sqlite3.Error):  # deeper already than these can walk, or nothing in it
        return any_bytes(data, chance)
