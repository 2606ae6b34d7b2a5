"""Reading what people write to name a source, and never showing a password."""

import logging
import traceback
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from producers.sources import mask_credentials, open_source
from producers.sources.address import Credentials, parse_address
from schemas.errors import EngramError, SettingsError


@pytest.mark.parametrize(
    ("text", "kind", "location"),
    [
        ("0", "device", "0"),
        ("/dev/video12", "device", "12"),
        ("film.mp4", "file", "film.mp4"),
        ("12.mp4", "file", "12.mp4"),
        (" rtsp://cam/1 ", "rtsp", "rtsp://cam/1"),
        ("RTSP://cam/1", "rtsp", "RTSP://cam/1"),
        ("https://cam/v.mjpg", "http", "https://cam/v.mjpg"),
        ("synthetic://walkway", "synthetic", "synthetic://walkway"),
    ],
)
def test_kinds(text: str, kind: str, location: str) -> None:
    address = parse_address(text)
    assert (address.kind, address.location) == (kind, location)


def test_folder(tmp_path) -> None:
    assert parse_address(str(tmp_path)).kind == "folder"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "ftp://cam/1",
        "rtsp://",
        "rtsp:///path",
        "http://cam:99999/",
        "http://[::1/",
        "rtsp://bob:12/3@cam/1",
        "rtsp://bob:x@y/z@cam/1",
    ],
)
def test_unusable_addresses_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="must"):
        parse_address(text)


def test_parts_of_a_camera_address() -> None:
    address = parse_address("rtsp://bob:p%40ss@cam.lan/live?ch=1")
    assert address.host_and_port == ("cam.lan", 554)
    assert address.credentials == Credentials("bob", "p@ss")
    assert address.without_credentials == "rtsp://cam.lan/live?ch=1"
    assert address.request_target == "/live?ch=1"
    assert address.query == {"ch": "1"}


def test_an_address_without_user_has_no_credentials() -> None:
    assert parse_address("http://cam:81").credentials is None
    assert parse_address("http://cam:81").request_target == "/"


@pytest.mark.parametrize("password", ["p#1", "what?", "a@b", "ü", "100%25"])
def test_unquoted_special_characters_in_a_password(password: str) -> None:
    address = parse_address(f"rtsp://bob:{password}@cam:8554/live")
    assert address.host_and_port == ("cam", 8554)
    assert address.credentials is not None
    assert address.credentials.password == password.replace("%25", "%")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://bob:secret@cam/1", "rtsp://***@cam/1"),
        ("rtsp://cam/1", "rtsp://cam/1"),
        ("opening rtsp://bob:secret@cam/1 failed", "opening rtsp://***@cam/1 failed"),
        ("http://cam/v?user=bob&pwd=secret&x=1", "http://cam/v?user=***&pwd=***&x=1"),
        ("http://cam/v?access_token=secret", "http://cam/v?access_token=***"),
        ("rtsp://bob:sec/ret@cam/1", "rtsp://***@cam/1"),
        ("rtsp://bob:se@c#ret@cam/1", "rtsp://***@cam/1"),
        ("/home/bob/film.mp4", "/home/bob/film.mp4"),
    ],
)
def test_masking(text: str, shown: str) -> None:
    assert mask_credentials(text) == shown


def test_credentials_have_no_telling_repr() -> None:
    address = parse_address("rtsp://bob:secret@cam/1")
    assert "secret" not in repr(address) + repr(address.credentials)


@example(scheme="rtsp", password="x@/QQ7", rest="cam/1")
@given(
    scheme=st.sampled_from(["rtsp", "http", "https", "ftp", "rtsps"]),
    password=st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=12).map(
        lambda s: f"x{s}QQ7"
    ),
    rest=st.sampled_from(["cam/1", "cam:8554/a/b?c=1", "cam:notaport/1", "[::1", ""]),
)
def test_no_password_in_any_message(scheme: str, password: str, rest: str) -> None:
    text = f"{scheme}://bob:{password}@{rest}"
    try:
        described = open_source(text).describe()
    except EngramError as error:
        described = "".join(traceback.format_exception_only(error))
    assert "QQ7" not in described


def test_masked_in_the_log(caplog) -> None:
    with caplog.at_level(logging.DEBUG):
        source = open_source("rtsp://bob:secret@cam/1")
        logging.getLogger("producers").info("opened %s", source.describe())
    assert "rtsp://***@cam/1" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "name", ["01", "0", "2026-01-31T08:00:00.mp4", "a#b?c%20 d.mp4", "-x.mp4", " x.mp4", "me@home"]
)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_exists_is_what_is_meant(name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if kind == "folder":
        Path(name).mkdir()
    else:
        Path(name).write_bytes(b"x")
    assert (parse_address(name).kind, parse_address(name).location) == (kind, name)


@pytest.mark.parametrize("text", ["01", "007", "/dev/video01", "C:\\films\\a.mp4", "c://films/a.mp4"])
def test_no_camera_is_seen_in_the_name_of_a_file_that_is_missing(text: str) -> None:
    assert parse_address(text).kind == "file"


@pytest.mark.parametrize(
    "text",
    [
        "rtsp:/bob:QQ7@cam/1",
        "rtsp:bob:QQ7@cam/1",
        "rtsp//bob:QQ7@cam:554/1",
        "bob:QQ7@cam/1",
        "htp://bob:QQ7 x@cam/1",
        "rtsp://bob:QQ7 @cam:notaport/1",
        "rtsp:/bob:QQ7@x/QQ7@cam/1",
    ],
)
def test_a_typo_in_an_address_shows_no_password(text: str) -> None:
    with pytest.raises(SettingsError, match="must") as caught:
        parse_address(text)
    assert "QQ7" not in str(caught.value)
