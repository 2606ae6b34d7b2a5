"""From settings to parts, where a value is computed on its way: bounds, retentions, names, defaults."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from engram.build import shipped
from engram.build.adapters import SLOWEST_BYTES_S, is_sqlite, kafka_connection, kafka_options, open_store
from engram.build.bundles import bank_cache
from engram.build.cameras import bundle_defaults, bundle_wishes, camera_feeds, camera_names, resolved_sources
from engram.build.shipped import WALKWAY, shipped_bundle
from engram.build.topics import HEADER_ROOM_BYTES, grown_together, topic_specs, topic_state
from memory_store.store import KEPT_VERSIONS
from messaging.kafka.connection import KafkaOptions
from messaging.kafka.topics import Difference
from messaging.ports import TopicSpec
from schemas.errors import FatalError, SettingsError, TransientError
from schemas.settings import ProducerSettings, load_with_origins
from schemas.settings.connections import KafkaSection, StoreSection
from schemas.settings.detection import MemorySection, ProducerSection
from tests.unit.producers.scripted_source import plain

HOUR_S = 3600.0
SCENE = "synthetic://walkway?seed=1&seconds=1"


@pytest.mark.parametrize(
    ("in_flight_bytes", "retention_s", "life_s"),
    [
        (600 * SLOWEST_BYTES_S, HOUR_S, 600.0),  # as long as the slowest camera takes to fill it
        (7200 * SLOWEST_BYTES_S, HOUR_S, HOUR_S),  # but not longer than the broker would keep a frame
        (SLOWEST_BYTES_S, HOUR_S, KafkaOptions().delivery_timeout_s),  # and not shorter than without a bound
        (7200 * SLOWEST_BYTES_S, 1.0, KafkaOptions().delivery_timeout_s),
    ],
)
def test_what_waits_for_a_broker_is_bounded_in_bytes_and_by_retention(
    in_flight_bytes: int, retention_s: float, life_s: float
) -> None:
    options = kafka_options(KafkaSection(frames_retention_s=retention_s), in_flight_bytes)
    assert options.delivery_timeout_s == life_s
    assert options.in_flight_bytes == in_flight_bytes


def test_without_a_bound_the_adapter_has_its_own() -> None:
    own = KafkaOptions(session_timeout_s=7, replication_factor=2)
    assert kafka_options(KafkaSection(session_timeout_s=7, replication_factor=2), None) == own


def test_no_certificate_is_none_and_not_the_word() -> None:
    connection = kafka_connection(KafkaSection())
    assert (connection.ssl_cafile, connection.ssl_certfile, connection.ssl_keyfile) == (None, None, None)
    assert (connection.username, connection.password) == (None, None)


@pytest.mark.parametrize(
    ("url", "is_file"), [("sqlite:///x.db", True), ("sqlite://x", True), ("redis://sqlite:1/0", False)]
)
def test_a_file_is_told_from_a_server_by_its_scheme(url: str, is_file: bool) -> None:
    assert is_sqlite(StoreSection(url=url)) is is_file


def test_the_address_that_is_refused_shows_no_password() -> None:
    with pytest.raises(SettingsError) as refused, open_store(StoreSection(url="sqlite://user:hunter2@host/x")):
        pass
    assert "hunter2" not in str(refused.value)
    assert "an absolute path has four slashes" in str(refused.value)


def test_a_store_is_closed_when_its_user_fails(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'banks.db'}"
    with pytest.raises(KeyError), open_store(StoreSection(url=url)) as store:
        raise KeyError
    with pytest.raises((FatalError, TransientError)):
        store.list_banks()
    with open_store(StoreSection(url=url)) as again:
        assert again.list_banks() == []


def test_each_topic_is_kept_as_long_as_its_setting_says() -> None:
    section = KafkaSection(frames_retention_s=60.5, scores_retention_s=120, events_retention_s=240)
    kept = {spec.name: spec.retention_ms for spec in topic_specs(section, 1000)}
    assert kept == {
        "frames": 60_500,
        "frame-scores": 120_000,
        "anomaly-events": 240_000,
        "memory-updates": 60_500,
        "memory-banks": None,
        "camera-states": None,
        "dead-letters": 120_000,
        "camera-status": None,
        "camera-events": 240_000,
        "operator-verdicts": 240_000,
        "memory-events": 240_000,
        "event-media": 240_000,
    }


def test_only_topics_with_frames_in_them_take_more_than_the_broker_does_anyway() -> None:
    largest = {spec.name: spec.max_message_bytes for spec in topic_specs(KafkaSection(), 5000)}
    assert largest.pop("frames") == 5000 + HEADER_ROOM_BYTES
    assert largest.pop("dead-letters") == 5000 + 2 * HEADER_ROOM_BYTES
    assert set(largest.values()) == {None}


def test_what_is_spread_by_camera_has_as_many_partitions_and_grows_with_its_states_first() -> None:
    section = KafkaSection(frames_partitions=7, topic_prefix="site.")
    names = grown_together(section)
    assert names == ("site.camera-states", "site.frames", "site.frame-scores", "site.anomaly-events")
    assert {spec.name for spec in topic_specs(section, 1000) if spec.partitions == 7} == set(names)


@pytest.mark.parametrize(
    ("existing", "settings", "state"),
    [
        ({"other": 3}, {}, "missing"),
        ({"t": 4}, {}, "has 4 partitions, settings say 3"),
        ({"t": 3}, {"a": Difference("1", "9"), "b": Difference("2", "9")}, "a is 1; b is 2"),
        ({"t": 3}, None, "ok"),
    ],
)
def test_the_state_of_a_topic(existing: dict[str, int], settings: dict[str, Difference] | None, state: str) -> None:
    assert topic_state(TopicSpec("t", 3), existing, settings) == state


def test_the_shipped_bundle_is_whole_or_said_to_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert {path.name for path in shipped_bundle(WALKWAY).iterdir()} >= {"manifest.json", "weights.safetensors"}
    monkeypatch.setattr(shipped, "files", lambda package: tmp_path / package)
    with pytest.raises(SettingsError, match=r"must be in '.*engram/data/walkway', it is not; .* --bundle DIR"):
        shipped_bundle(WALKWAY)


class Shelf:
    """A store that counts how often it is asked, and may be away."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_away = False

    def read(self, bank_id: str) -> None:
        self.asked.append(bank_id)
        if self.is_away:
            raise TransientError("away")


def engine_of(items_MC: np.ndarray) -> Any:
    manifest, calibration = SimpleNamespace(places_per_frame=12), SimpleNamespace(memory=None)
    bundle = SimpleNamespace(digest="d" * 64, items_MC=items_MC, manifest=manifest, calibration=calibration)
    return SimpleNamespace(bundle=bundle)


ITEMS = np.eye(3, 4, dtype=np.float32)


@pytest.mark.parametrize(("refresh_s", "times"), [(1e9, 1), (1e-9, 3)])
def test_banks_are_asked_for_as_often_as_the_settings_say(refresh_s: float, times: int) -> None:
    shelf: Any = Shelf()
    cache = bank_cache(shelf, engine_of(ITEMS), MemorySection(refresh_interval_s=refresh_s))
    views = [cache.view("lobby") for _ in range(3)]
    assert shelf.asked == ["lobby"] * times
    np.testing.assert_array_equal(views[0].bank.items_MC, ITEMS)
    assert views[0].bank.bundle_digest == "d" * 64


def test_a_copy_may_be_as_old_as_the_settings_say() -> None:
    shelf: Any = Shelf()
    shelf.is_away = True
    patient = bank_cache(shelf, engine_of(ITEMS), MemorySection())
    assert patient.view("lobby").memory_state == "stale"
    with pytest.raises(TransientError):
        bank_cache(shelf, engine_of(ITEMS), MemorySection(max_age_s=1e-9)).view("lobby")


def test_as_many_versions_are_kept_as_the_settings_say_by_default() -> None:
    from schemas.settings.detection import CoordinatorSection

    assert CoordinatorSection().history == KEPT_VERSIONS


def test_a_name_that_is_given_beats_those_of_the_machine_and_numbers() -> None:
    assert camera_names(1, ("gate",)) == ("gate",)
    assert camera_names(0, ()) == ()
    with pytest.raises(SettingsError, match="got 3 for 2"):
        camera_names(2, ("a", "b", "c"))


def test_each_feed_has_the_source_and_session_it_is_named_for() -> None:
    names, seeds = ("a", "b"), (1, 2)
    sources = [f"synthetic://walkway?seed={seed}&seconds=1" for seed in seeds]
    feeds = camera_feeds(sources, names, ProducerSection(session="s9"))
    assert [(feed.camera_id, feed.session_id) for feed in feeds] == [("a", "s9"), ("b", "s9")]
    first = [hashlib.sha256(next(iter(feed.source)).image.tobytes()).hexdigest() for feed in feeds]
    assert len(set(first)) == 2
    with pytest.raises(ValueError, match="argument 2 is longer"):
        camera_feeds(sources, names[:1], ProducerSection())


def test_the_mask_covers_what_it_names(tmp_path: Path) -> None:
    corners = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    (feed,) = camera_feeds([SCENE], ["a"], ProducerSection(mask=(corners,)))
    assert feed.encoding.mask is not None
    hidden = feed.encoding.mask.hide(plain(90, 64, 48))
    assert (hidden[:, :30] == 0).all()
    assert (hidden[:, 34:] == 90).all()


@pytest.mark.parametrize(("asked", "lowest"), [(90, 40), (41, 40), (40, 40), (39, 39)])
def test_a_frame_is_made_smaller_down_to_a_quality(asked: int, lowest: int) -> None:
    (feed,) = camera_feeds([SCENE], ["a"], ProducerSection(jpeg_quality=asked))
    assert (feed.encoding.quality, feed.encoding.min_quality) == (asked, lowest)


WISHES = bundle_wishes(shipped_bundle(WALKWAY))


@pytest.mark.parametrize("given", [{"producer.width": 64, "producer.height": 48}, {"producer.fps": 3}])
def test_a_bundle_gives_size_and_rate_each_by_itself(given: dict[str, object]) -> None:
    loaded = load_with_origins(ProducerSettings, None, given, {})
    wanted = bundle_defaults(loaded, shipped_bundle(WALKWAY))
    assert set(wanted) == {*WISHES} - set(given)
    assert WISHES["producer.colours"] == "grey"


def test_a_path_that_looks_like_a_pointer_is_a_path_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cv2.imwrite("env:film.png", plain())
    assert resolved_sources(["env:film.png"]) == ("env:film.png",)
    assert resolved_sources(["file:///srv/film.mp4"]) == ("file:///srv/film.mp4",)
    assert resolved_sources(["rtsp:env"]) == ("rtsp:env",)


@pytest.mark.parametrize(("text", "lines"), [("", 0), ("\n \n", 0), ("a\nb\n", 2)])
def test_a_pointer_leads_to_exactly_one_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, lines: int
) -> None:
    (tmp_path / "source").write_text(text)
    monkeypatch.setenv("SOURCE", text)
    for source in (f"file:{tmp_path}/source", "env:SOURCE"):
        with pytest.raises(SettingsError, match=f"must hold one source in one line, got {lines} lines"):
            resolved_sources([source])


def test_files_of_sources_are_read_in_order_and_one_may_be_enough(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"  {name}.mp4  \n#{name}-off.mp4\n")
    assert resolved_sources([], [tmp_path / "one", tmp_path / "two"]) == ("one.mp4", "two.mp4")
    (tmp_path / "none").write_text("# all off\n")
    with pytest.raises(SettingsError, match="a source must be named, got none"):
        resolved_sources([], [tmp_path / "none"])


def test_a_file_of_sources_that_is_no_text_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(b"\x00\xff\xd8")
    with pytest.raises(SettingsError, match=f"must be text, '{tmp_path}/film' is not"):
        resolved_sources([], [tmp_path / "film"])
    with pytest.raises(SettingsError, match=f"must be readable, '{tmp_path}' is not: Is a directory"):
        resolved_sources([], [tmp_path])
