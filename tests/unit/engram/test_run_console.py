"""Who may start a console where, tokens from the command line, and a console that lasts as long as its watch."""

import socket
import threading
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from console.access import new_token, read_grants
from deploy.local.wait import wait_until
from engram.cli.app import app
from engram.run.console import doors_of
from engram.run.watch import WatchRequest, run_watch, watch_defaults
from schemas.addresses import listen_address
from schemas.errors import SettingsError
from schemas.settings import WatchSettings, load_with_origins
from schemas.settings.connections import ConsoleSection

SCENE = "synthetic://walkway?seed=1&seconds=20"


def doors(listen: str, **given: object) -> tuple[int, bool]:
    """How many may come in, and whether a token was made."""
    section = ConsoleSection.model_validate({"listen": listen, **given})
    found = doors_of(section, listen_address(section.listen))
    return len(found.grants), found.token is not None


def test_on_this_machine_alone_a_token_is_made() -> None:
    for listen in ("8765", "127.0.0.1:0", "localhost:1", "[::1]:2"):
        assert doors(listen) == (1, True)


def test_others_can_reach_it_only_if_there_are_tokens(tmp_path: Path) -> None:
    for listen in ("0.0.0.0:8765", "[::]:8765", "192.168.1.5:80", "console.example:80"):
        with pytest.raises(SettingsError, match=r"must have tokens, it has none.*--make-token"):
            doors(listen)
    line = new_token("ann", "operate")[1].line()
    assert doors("0.0.0.0:1", tokens=line) == (1, False)
    (tmp_path / "tokens").write_text(f"# who may come in\n{line}\n")
    assert doors("127.0.0.1:1", token_file=tmp_path / "tokens") == (1, False)


def test_an_empty_or_missing_file_of_tokens_opens_no_door(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n# nobody\n")
    with pytest.raises(SettingsError, match="it has none"):
        doors("127.0.0.1:1", token_file=tmp_path / "empty")
    with pytest.raises(SettingsError, match="readable text file"):
        doors("127.0.0.1:1", token_file=tmp_path / "none")


def call(*words: object) -> Result:
    return CliRunner(env={"COLUMNS": "250", "NO_COLOR": "1"}).invoke(app, ["console", *map(str, words)])


def test_a_token_is_made_once_and_only_its_digest_is_written(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    made = call("--make-token", "ann", "--role", "view", "--token-file", path)
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    (grant,) = read_grants(path.read_text(), "tokens")
    assert (grant.name, grant.role) == ("ann", "view")
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0, "for its owner alone"
    again = call("--make-token", "ann", "--token-file", path)
    assert again.exit_code == 2
    assert "two tokens of one name" in again.output
    assert call("--make-token", "bob", "--token-file", path).exit_code == 0
    assert len(read_grants(path.read_text(), "tokens")) == 2
    assert call("--make-token", "a b").exit_code == 2
    printed = call("--make-token", "cy")
    assert read_grants(printed.stdout, "stdout")[0].name == "cy"


def test_a_folder_of_media_and_a_server_of_buckets_is_an_error_of_settings(tmp_path: Path) -> None:
    settings = {"ENGRAM_CONSOLE__MEDIA": f"{tmp_path}/media", "ENGRAM_CONSOLE__MEDIA_ENDPOINT": "http://h:9"}
    words = ["console", "--listen", "0", "--file", f"{tmp_path}/c.db", "--bootstrap-servers", "127.0.0.1:1"]
    refused = CliRunner(env={"COLUMNS": "250", "NO_COLOR": "1", **settings}).invoke(app, words)
    assert refused.exit_code == 2
    assert "error: an address of S3 goes with s3://bucket/prefix, got http://h:9 and the folder" in refused.output


def test_an_address_that_is_taken_is_told_before_anything_is_read(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = call("--listen", port, "--file", tmp_path / "c.db", "--bootstrap-servers", "127.0.0.1:1")
    assert refused.exit_code == 2
    assert "console.listen (--listen) must be a free address" in refused.output


def test_a_watch_shows_its_page_and_stays_until_it_is_told_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGRAM_HOME", str(tmp_path))
    overrides: dict[str, object] = {
        "worker.bundle": Path("engram/data/walkway").absolute(),
        "console.listen": "127.0.0.1:0",
        "store.url": f"sqlite:///{tmp_path / 'banks.db'}",
    }
    loaded = load_with_origins(WatchSettings, None, overrides, {})
    loaded = load_with_origins(WatchSettings, None, overrides | watch_defaults(loaded, [SCENE], ["gate"]), {})
    told: list[str] = []
    stop, has_told = threading.Event(), threading.Event()

    def tell(address: str) -> None:
        told.append(address)
        has_told.set()

    request = WatchRequest([SCENE], ["gate"], None, lambda event: None, tell_console=tell)
    watching = threading.Thread(target=lambda: run_watch(loaded, request, stop), daemon=True)
    watching.start()
    assert has_told.wait(60)
    with httpx.Client(base_url=told[0].split("/login")[0], follow_redirects=True, timeout=60) as client:
        assert client.get(told[0]).status_code == 200

        def has_ended() -> bool:
            cameras = client.get("/api/v1/cameras").json()
            accounts = client.get("/api/v1/plumbing").json()["accounts"]
            counts = {account["name"]: account["parts"] for account in accounts}
            return bool(cameras) and counts["records of the worker"]["ends of sessions"] == 1

        wait_until(has_ended, 120)  # the scene ends and the page is still there
        accounts = client.get("/api/v1/plumbing").json()["accounts"]
        assert all(one["whole"] == sum(one["parts"].values()) for one in accounts), accounts
        assert client.get("/memory").status_code == 200
    assert watching.is_alive()
    stop.set()
    watching.join(60)
    assert not watching.is_alive()
