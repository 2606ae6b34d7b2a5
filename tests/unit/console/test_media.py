"""Pictures and clips on an event's page: what was told of them, and the way to the file and to no other."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from console.board import Board, Bounds
from console.media import MediaFolder, name_of
from schemas.media import EventMedia
from tests.unit.console.worlds import NOW, board_at, jpeg, seen, world

EVENT = seen(10, 20, picture=jpeg())
ID = EVENT.data.event_id
CLIP = bytes(range(256)) * 40
PLACE = f"/events/{ID}/media"


def told(kind: str = "clip", **changes: Any) -> EventMedia:
    """What ``engram clips`` says of a medium."""
    values: dict[str, Any] = {
        "event_id": ID,
        "camera_id": "cam1",
        "session_id": "s1",
        "kind": kind,
        "final": True,
        "uri": "file:///elsewhere/cam1/clip.mp4",
        "content_type": "video/mp4" if kind == "clip" else "image/jpeg",
        "num_bytes": len(CLIP),
        "digest": "c" * 64,
        "width": 640,
        "height": 480,
        "first_at": NOW - timedelta(seconds=20),
        "last_at": NOW - timedelta(seconds=8),
        "frames": {"first": 5, "last": 124, "shown": 118, "missing": 2},
        "made_at": NOW,
        "expires_at": NOW + timedelta(days=30),
    }
    return EventMedia.model_validate(values | changes)


def board(*media: EventMedia) -> Board:
    made = board_at()
    made.take_event(EVENT, NOW)
    for each in media:
        made.take_media(each)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as ``engram clips`` leaves it."""
    for kind, content in (("clip", CLIP), ("picture", jpeg(640, 480))):
        path = tmp_path / "media" / name_of(EVENT.data, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "media"


def test_a_video_is_shown_with_its_picture_and_what_is_in_it(folder: Path) -> None:
    client = world(board(told(), told("picture")), media=MediaFolder(folder)).client("view")
    page = client.get(f"/events/{ID}").text
    place = PLACE.replace(":", "%3A")
    assert f'src="{place}/clip?n=cccccccc" poster="{place}/picture" width="640" height="480"' in page
    assert "118 frames, 2 missing." in page
    assert "Kept until" in page
    assert "The peak frame, 640" in page
    assert client.get(f"/parts/events/{ID}/media").text.count("<video") == 1
    assert client.get(f"{PLACE}/picture").headers["content-type"] == "image/jpeg"
    assert "media-src 'self'" in client.get("/").headers["content-security-policy"]


def test_a_browser_may_ask_for_a_part_of_it(folder: Path) -> None:
    client = world(board(told()), media=MediaFolder(folder)).client("view")
    whole = client.get(f"{PLACE}/clip")
    assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, CLIP, "bytes")
    assert whole.headers["content-type"] == "video/mp4"
    part = client.get(f"/api/v1{PLACE}/clip", headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, CLIP[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(CLIP)}"
    assert client.get(f"{PLACE}/clip", headers={"range": "bytes=999999-"}).status_code == 416


def test_who_has_not_come_in_sees_no_video(folder: Path) -> None:
    client = world(board(told()), media=MediaFolder(folder)).client(None)
    assert client.get(f"{PLACE}/clip", follow_redirects=False).status_code == 303
    assert client.get(f"/api/v1{PLACE}/clip").status_code == 401


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "s3://bucket/key", "javascript:alert(1)", "file://../../x"])
def test_what_a_message_says_leads_to_no_file_and_to_no_link(folder: Path, uri: str) -> None:
    name_of_clip = folder / name_of(EVENT.data, "clip")
    name_of_clip.unlink()
    client = world(board(told(uri=uri)), media=MediaFolder(folder)).client()
    assert client.get(f"{PLACE}/clip").status_code == 404
    page = client.get(f"/events/{ID}").text
    assert "It is not there any more" in page
    assert f'"{uri}' not in page, "it is text, and no address"


def test_a_link_out_of_the_folder_leads_nowhere(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_bytes(b"secret")
    clip = folder / name_of(EVENT.data, "clip")
    clip.unlink()
    clip.symlink_to(outside)
    client = world(board(told()), media=MediaFolder(folder)).client()
    assert client.get(f"{PLACE}/clip").status_code == 404
    for kind in ("clip", "picture", "other", "../../secret", "%2e%2e%2fsecret"):
        for event in ("..", "../..", "%2e%2e", "cam1:s1:999"):
            answer = client.get(f"/events/{event}/media/{kind}")
            assert answer.status_code in (404, 422)
            assert b"secret" not in answer.content


def test_names_stay_within_the_folder_whatever_an_event_is_called(folder: Path) -> None:
    place = MediaFolder(folder)
    assert place.file("../secret") is None
    assert place.file("/etc/passwd") is None
    assert place.file("cam1") is None, "a folder is no medium"
    assert place.file("x\0y") is None
    assert MediaFolder(folder / "absent").file("a") is None


class Signed:
    """A bucket that signs links."""

    def file(self, name: str) -> Path | None:
        return None

    def link(self, name: str) -> str | None:
        return f"https://bucket.example/{name}?signature=abc"


def test_a_bucket_is_reached_by_a_signed_link() -> None:
    client = world(board(told(uri="s3://yard/clip.mp4")), media=Signed()).client("view")
    page = client.get(f"/events/{ID}").text
    assert "Play the video" in page
    assert "<video" not in page
    answer = client.get(f"{PLACE}/clip", follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["location"].startswith("https://bucket.example/cam1/")


def test_a_page_says_why_there_is_no_video() -> None:
    gone = told(uri=None, why="frames_gone", frames=None, first_at=None, last_at=None, digest=None, expires_at=None)
    assert "its frames were deleted before it was made" in world(board(gone)).client().get(f"/events/{ID}").text
    far = world(board(told())).client().get(f"/events/{ID}").text
    assert "This console does not reach it" in far
    assert "Video" not in world(board()).client().get(f"/events/{ID}").text


def test_the_last_word_stands_and_outlasts_a_restart() -> None:
    early = told(final=False, made_at=NOW + timedelta(seconds=60))
    made = board(early)
    assert "the whole comes at its end" in world(made).client().get(f"/events/{ID}").text
    made.take_media(told())
    made.take_media(early)
    assert made.media(ID)["clip"].final
    turns = made.turns()["media"]
    again = board_at()
    again.restore(list(made.drain().puts.values()))
    assert again.media(ID) == made.media(ID)
    assert turns == 2
    assert world(made).client().get(f"/api/v1/events/{ID}").json()["media"][0]["num_bytes"] == len(CLIP)


def test_what_is_told_is_bounded() -> None:
    made = board_at(bounds=Bounds(max_events=3))
    for number in range(9):
        made.take_media(told(event_id=f"cam1:s1:{number}"))
    assert [bool(made.media(f"cam1:s1:{number}")) for number in range(9)] == [False] * 6 + [True] * 3
    assert len([row for row in made.drain().puts.values() if row.kind == "media"]) == 3
