"""Secrets in the metadata of a trace are hidden in its copy; a trace without any stays byte for byte."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_perf_opt.captures import trace_secrets
from llm_perf_opt.captures.trace_secrets import hide_secrets, store_trace
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


@pytest.mark.parametrize("secret", [None, SECRET])
@pytest.mark.parametrize("is_packed", [False, True])
def test_what_is_stored_has_the_digest_of_its_source(tmp_path: Path, is_packed: bool, secret: str | None) -> None:
    source, target = tmp_path / "trace", tmp_path / "run" / "trace.json.gz"
    text = json.dumps({"traceEvents": EVENTS, "env": {"HF_TOKEN": secret or "", "pid": "y" * 5000}}).encode()
    source.write_bytes(gzip.compress(text) if is_packed else text)
    assert store_trace(source, target) == (hashlib.sha256(source.read_bytes()).hexdigest(), int(secret is not None))
    stored = gzip.decompress(target.read_bytes())
    assert stored == text.replace(SECRET.encode(), b"***")
    assert not is_packed or secret is not None or target.read_bytes() == source.read_bytes()
    assert [file.name for file in target.parent.iterdir()] == [target.name]


@settings(max_examples=300)
@given(
    before=st.sampled_from(["", "x", '"', "my_", "HF-", "a.b."]),
    name=st.sampled_from(trace_secrets._ENDS).flatmap(lambda end: st.sampled_from([end, end.upper(), end.title()])),
    link=st.sampled_from(['": "', '":"', '" : "', "="]),
)
def test_no_name_of_a_secret_is_passed_over(before: str, name: str, link: str) -> None:
    """What a block is searched for at once finds all that the long search finds."""
    block = f"{before}{name}{link}{SECRET}".encode() + b'"'
    found = list(trace_secrets._GIVEN.finditer(block.lower()))
    assert found
    assert trace_secrets._may_name_a_secret(block)
    assert not trace_secrets._may_name_a_secret(block.replace(name.encode(), b"tokens"))
