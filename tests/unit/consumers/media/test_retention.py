"""What a store must let go: by age, by bytes, oldest events first, and nothing that is not ours."""

from datetime import timedelta

import pytest

from consumers.media.store import Retention, Stored, media_name, surplus
from tests.unit.consumers.samples import ORIGIN, event


def stored(name: str, days_ago: float, num_bytes: int = 100) -> Stored:
    return Stored(name, num_bytes, ORIGIN - timedelta(days=days_ago))


def files(number: int, days_ago: float) -> list[Stored]:
    name = f"gate/2026-02-{number:02d}/gate_s1_{number}-0123456{number}"
    return [stored(name + end, days_ago) for end in (".jpg", ".jpg.json", ".mp4", ".mp4.json")]


FILES = [*files(3, 1), *files(1, 9), *files(2, 5)]


def numbers(going: list[Stored]) -> list[str]:
    return sorted({file.name.split("_")[2][0] for file in going})


def test_without_bounds_all_stays() -> None:
    assert surplus(FILES, Retention(), ORIGIN) == []


def test_what_is_too_old_goes_with_all_its_files() -> None:
    going = surplus(FILES, Retention(keep=timedelta(days=6)), ORIGIN)
    assert going == files(1, 9)


@pytest.mark.parametrize(
    ("keep_bytes", "gone"), [(1200, []), (1199, ["1"]), (800, ["1"]), (799, ["1", "2"]), (0, ["1", "2", "3"])]
)
def test_beyond_the_bytes_the_oldest_events_go(keep_bytes: int, gone: list[str]) -> None:
    assert numbers(surplus(FILES, Retention(keep_bytes=keep_bytes), ORIGIN)) == gone


def test_an_event_is_as_old_as_its_newest_file() -> None:
    renewed = [*files(1, 9)[:3], stored(files(1, 9)[3].name, 1)]
    assert surplus(renewed, Retention(keep=timedelta(days=6)), ORIGIN) == []


@pytest.mark.parametrize(
    "name", ["holiday.jpg", "gate/holiday.mp4", "gate/2026-02-01/holiday.mp4", "gate/2026-02-01/a-01234567.mov"]
)
def test_what_is_not_ours_is_never_deleted(name: str) -> None:
    assert surplus([stored(name, 99)], Retention(timedelta(days=1), 0), ORIGIN) == []


def test_names_are_of_the_event_alone_and_never_shared() -> None:
    one = event(20, 30).data
    names = {
        media_name(one.model_copy(update={"event_id": event_id}))
        for event_id in ("cam1:s1:20", "cam1_s1:20", "cam1:s1_20", "Cam1:s1:20", "cam1:s1:20:trouble")
    }
    assert len({name.lower() for name in names}) == 5
    assert media_name(one) == media_name(event(20, 99, "end", 7).data)
    assert media_name(one).startswith("cam1/2026-03-01/cam1_s1_20-")
    assert surplus([stored(media_name(one) + ".mp4", 99)], Retention(timedelta(days=1)), ORIGIN)
