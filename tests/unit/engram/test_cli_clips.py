"""``engram clips``: what is typed is what its work is given, and its help says what one must know."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from consumers.media.clipper import ClipOptions
from consumers.media.store import Retention
from engram.cli import clips as module
from engram.cli.app import app
from engram.run.clips import ClipRequest


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    calls: list[Any] = []
    monkeypatch.setattr(module, "run_clips", lambda *parts: calls.append(parts))
    yield calls


def call(*words: str) -> str:
    done = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}).invoke(app, ["clips", *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_flags_become_the_request(given: list[Any]) -> None:
    call("media")
    words = "--before 1 --after 2 --longest 30 --early 10 --boxes --keep ever --keep-gb 2 --group guard"
    call("s3://yard/x", *words.split(), "--s3-endpoint", "http://h:9", "--from-beginning", "--topic-prefix", "a.")
    (_, _, usual, *_), (_, names, all_, *_) = given
    kept = Retention(timedelta(days=30), 50_000_000_000)
    assert usual == ClipRequest("media", None, "engram-clips", "newest", ClipOptions("event-media", retention=kept))
    options = ClipOptions("a.event-media", 1, 2, 30, 10, True, Retention(None, 2_000_000_000))
    assert all_ == ClipRequest("s3://yard/x", "http://h:9", "a.guard", "oldest", options)
    assert names.frames == "a.frames"


def test_a_folder_and_a_server_of_buckets_is_an_error_of_usage(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["clips", f"{tmp_path}/media", "--s3-endpoint", "http://h:9"])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert "error: an address of S3 goes with s3://bucket/prefix, got http://h:9 and the folder" in done.output


def test_its_help_teaches() -> None:
    shown = " ".join(call("--help").split())
    for told in ("as large as the producer sends them", "event-media", "a store that is full or away is waited for"):
        assert told in shown
    assert "engram clips /var/lib/engram/media --before 5 --after 10 --keep 14d" in shown
