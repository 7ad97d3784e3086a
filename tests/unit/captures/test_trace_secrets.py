"""Secrets in the metadata of a trace are hidden in its copy; a trace without any stays byte for byte."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.captures import trace_secrets
from llm_perf_opt.captures.trace_secrets import hide_secrets
from llm_perf_opt.errors import StageError
from llm_perf_opt.formats import json_chunks
from tests.unit.timeline.example import EVENTS

SECRET = "Zq7planted0000"


def packed(tmp_path: Path, **metadata: Any) -> Path:
    path = tmp_path / "trace.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"traceEvents": EVENTS, **metadata}, indent=1).encode()))
    return path


def test_secrets_in_the_metadata_are_hidden(tmp_path: Path) -> None:
    environment = {
        "HF_TOKEN": SECRET,
        "aws_credentials": SECRET,
        "My_Api_Key": f'{SECRET} "quoted"',
        "eos_token": "</s>",
        "HOME": "/root",
    }
    command = ["python", f"--api-key={SECRET}", f"https://me:{SECRET}@host/x", "google-auth==2.40", "--batch=4"]
    path = packed(tmp_path, env=environment, argv=command)
    assert hide_secrets(path) == 5
    text = gzip.decompress(path.read_bytes()).decode()
    assert SECRET not in text
    found = json.loads(text)
    assert found["traceEvents"] == EVENTS
    assert found["env"] == {
        "HF_TOKEN": "***",
        "aws_credentials": "***",
        "My_Api_Key": "***",
        "eos_token": "</s>",
        "HOME": "/root",
    }
    assert found["argv"] == ["python", "--api-key=***", "https://***@host/x", "google-auth==2.40", "--batch=4"]
    assert hide_secrets(path) == 0
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_secret_across_the_edge_of_a_block(tmp_path: Path, monkeypatch: Any) -> None:
    path = packed(tmp_path, env={"HF_TOKEN": SECRET})
    monkeypatch.setattr(trace_secrets, "READ_AT_ONCE_BYTES", 7)
    assert hide_secrets(path) == 1
    assert SECRET.encode() not in gzip.decompress(path.read_bytes())


def test_a_trace_without_secrets_stays_as_it_is(tmp_path: Path) -> None:
    path = packed(tmp_path, env={"HOME": "/root", "HF_TOKEN": ""}, key="")
    before = path.read_bytes()
    assert hide_secrets(path) == 0
    assert path.read_bytes() == before


def test_what_cannot_be_unpacked_is_refused_since_its_secrets_are_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_chunks, "ALWAYS_ALLOWED_BYTES", 1 << 20)
    whole = packed(tmp_path, env={"HF_TOKEN": SECRET}, padding="x" * 5000).read_bytes()
    flipped = bytearray(whole)
    flipped[40] ^= 0xFF
    bomb = gzip.compress(b"[" + b" " * (2 << 20))
    for damaged in (whole[:-20], bytes(flipped), bomb):
        path = tmp_path / "trace.json.gz"
        path.write_bytes(damaged)
        with pytest.raises(StageError, match="cannot be read as a trace"):
            hide_secrets(path)
        assert path.read_bytes() == damaged


def test_each_name_is_looked_for_where_it_stands_alone(tmp_path: Path) -> None:
    for name in ("credentials", "AWS_CREDENTIAL", "my_apikey", "passphrase"):
        assert hide_secrets(packed(tmp_path, env={name: SECRET})) == 1, name
        assert hide_secrets(packed(tmp_path, argv=[f"--{name}={SECRET}"])) == 1, name
