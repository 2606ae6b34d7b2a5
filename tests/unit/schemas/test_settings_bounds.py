"""Every setting at and just outside its bounds, and the rules between settings of one section."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from schemas.errors import FatalError, SettingsError
from schemas.messages import Id
from schemas.settings import AllSettings, ProducerSettings, load_settings, load_with_origins
from schemas.settings.detection import host_and_pid
from schemas.settings.layers import as_environment, known_paths

SMALL = 1e-9
BOUNDS: dict[str, tuple[list[Any], list[Any]]] = {
    # what is taken, what is refused
    "kafka.frames_partitions": ([1, 1024], [0, 1025, 1.5]),
    "kafka.session_timeout_s": ([1, 300], [0.9, 300.1]),
    "kafka.replication_factor": ([-1, 16], [-2, 17]),
    "kafka.frames_retention_s": ([SMALL], [0]),
    "kafka.scores_retention_s": ([SMALL], [0]),
    "kafka.events_retention_s": ([SMALL], [0]),
    "kafka.topic_prefix": (["", "a.b_c-D9", "x" * 100], ["a b", "x" * 101, "a/b", "a\n"]),
    "kafka.group": (["g"], [""]),
    "kafka.bootstrap_servers": (["a:1", "a:1,b:2", "[::1]:9092"], ["", "a", "a:1,", "a:0"]),
    "kafka.security_protocol": (["PLAINTEXT", "SSL"], ["ssl", "TLS"]),
    "kafka.sasl_mechanism": (["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"], ["GSSAPI", "plain"]),
    "store.timeout_s": ([SMALL], [0, -1]),
    "store.key_prefix": (["a", "9.b_c-D", "x" * 64], ["", "-a", "a:b", "x" * 65]),
    "store.url": (
        [
            *("unix:///run/redis.sock", "sqlite:////data/banks.db", "redis://[::1]:6379/0", "rediss://h:1"),
            *("redis+sentinel://a/banks", "rediss+sentinel://a:1,[::1]:2,c/my.banks-1/15"),
        ],
        [
            *("", "http://h", " redis://h", "redis:/h", "redis://h:99999", "rediss://", "redis://h/0#x"),
            *("redis+sentinel://a", "redis+sentinel://a:0/banks", "redis+sentinel://a/banks/x", "sentinel://a/banks"),
        ],
    ),
    "http.listen": (["127.0.0.1:0", "9100", "[::1]:65535"], ["", "a", "a:1/x", ":65536", "-1"]),
    "log.level": (["debug", "info", "warning", "error"], ["INFO", "trace"]),
    "log.format": (["text", "json"], ["xml"]),
    "tracing.endpoint": (
        ["http://collector:4318", "https://[::1]:4318/otlp/"],
        ["", "collector:4318", "grpc://c:4317", "http://", "http://a b"],
    ),
    "tracing.sample": ([SMALL, 1], [0, 1 + SMALL]),
    "memory.bank_id": (["shared", "9", "{camera_id}", "a{camera_id}b{camera_id}"], ["", ".a", "{bank}", "a b", "a}"]),
    "memory.learn_s": ([0, 3600, 7 * 86_400], [-1, 7 * 86_400 + 1]),
    "memory.half_life_h": ([SMALL, 8760], [0]),
    "memory.refresh_interval_s": ([SMALL], [0]),
    "memory.max_age_s": ([SMALL], [0]),
    "producer.fps": ([SMALL, 240], [0, 240.1]),
    "producer.source_fps": ([SMALL, 1000], [0, 1000.1]),
    "producer.jpeg_quality": ([1, 100], [0, 101]),
    "producer.session": (["s", "x" * 64], ["", "a:b", "x" * 65]),
    "producer.timezone": (["UTC", "Europe/Berlin"], ["Mars/Base", "../UTC", "/etc/localtime", "Europe"]),
    "producer.colours": (["all", "grey"], ["gray", "none"]),
    "producer.clock": (["auto", "camera", "arrival"], ["ntp", "Auto"]),
    "producer.pace": (["live", "backfill"], ["slow"]),
    "producer.buffer_bytes": ([2**20], [2**20 - 1]),
    "producer.when_full": (["newest", "oldest", "block", "max_staleness"], ["latest", "Oldest"]),
    "producer.max_staleness_s": ([SMALL], [0]),
    "producer.spool_bytes": ([2**20], [2**20 - 1]),
    "producer.spool_age_s": ([SMALL], [0]),
    "producer.catch_up": (["oldest-first", "newest-first"], ["oldest"]),
    "producer.catch_up_fps": ([10.1, 1000], [0, 1000.1]),
    "producer.heartbeat_s": ([1, 3600], [0.9, 3601]),
    "producer.max_frame_bytes": ([1024, 900 * 1024], [1023, 900 * 1024 + 1]),
    "worker.max_frame_bytes": ([1024, 900 * 1024], [1023, 900 * 1024 + 1]),
    "worker.worker_id": (["w"], ["", "a b"]),
    "worker.device": (["auto", "cpu", "cuda", "cuda:12", "mps"], ["cuda:", "cuda:x", "gpu", "cpu "]),
    "worker.backend": (["auto", "torch", "onnx", "openvino", "openvino-int8"], ["tensorrt", "TORCH"]),
    "worker.threads": ([1], [0]),
    "worker.max_batch": ([1, 1024], [0, 1025]),
    "worker.max_wait_ms": ([0], [-SMALL]),
    "worker.decode_threads": ([1, 64], [0, 65]),
    "worker.commit_interval_ms": ([0], [-SMALL]),
    "worker.proposal_interval_s": ([0], [-SMALL]),
    "worker.max_pixels": ([1024], [1023]),
    "worker.max_staleness_s": ([SMALL], [0]),
    "worker.camera_timeout_s": ([SMALL], [0]),
    "worker.camera_forget_s": ([SMALL], [0]),
    "worker.max_attempts": ([1], [0]),
    "worker.max_cameras": ([1], [0]),
    "worker.warn_late_s": ([SMALL], [0]),
    "events.enter": ([0, 1], [-SMALL, 1 + SMALL]),
    "events.exit": ([0, 1], [-SMALL, 1 + SMALL]),
    "events.target_false_alarms_per_day": ([SMALL], [0]),
    "events.min_duration_s": ([0], [-SMALL]),
    "events.merge_gap_s": ([0], [-SMALL]),
    "events.update_interval_s": ([SMALL], [0]),
    "events.max_duration_s": ([SMALL], [0]),
    "events.cooldown_s": ([0], [-SMALL]),
    "events.warning_per_day": ([SMALL], [0]),
    "events.critical_per_day": ([SMALL], [0]),
    "events.thumbnail_px": ([0, 1024], [-1, 1025]),
    "coordinator.writer_id": (["w"], ["", "a/b"]),
    "coordinator.lease_s": ([SMALL], [0]),
    "coordinator.round_s": ([0], [-SMALL]),
    "coordinator.quarantine_s": ([0], [-SMALL]),
    "coordinator.max_anchor_distance": ([SMALL, 2], [0, 2.1]),
    "coordinator.change_budget_per_hour": ([SMALL], [0]),
    "coordinator.change_budget_per_round": ([SMALL], [0]),
    "coordinator.max_banks": ([1], [0]),
    "console.listen": (["127.0.0.1:0", "8765", "[::1]:65535"], ["", "a", "a:1/x", ":65536"]),
    "console.base_path": (["", "/engram", "/a/b.c-d"], ["/", "engram", "/a/", "/a b", '/"', "/a\n"]),
    "console.max_events": ([10, 1_000_000], [9, 1_000_001]),
    "console.max_bytes": ([2**20], [2**20 - 1]),
    "console.grafana": (["https://g.example/d/1?a=b", "http://g:3000"], ["g", "javascript:alert(1)", 'http://g"x', ""]),
    "coordinator.guard_frames": ([0], [-1]),
    "coordinator.history": ([1], [0]),
}
UNBOUNDED = {
    "kafka.client_id", "kafka.username", "kafka.password", "store.username", "store.password", "kafka.ssl_cafile",
    "kafka.credentials_file", "kafka.mac_keys", "kafka.mac_keys_path", "store.credentials_file", "store.ssl_cafile",
    "kafka.ssl_certfile", "kafka.ssl_keyfile", "memory.updates", "producer.width", "producer.height", "producer.mask",
    "producer.hours", "producer.start", "producer.paused_until",
    "producer.spool_dir", "producer.watch_view",
    "worker.bundle", "kafka.event_mode", "tracing.enabled",
    "console.file", "console.proxies", "console.ssl_certfile", "console.ssl_keyfile", "console.token_file",
    "console.tokens", "console.media", "console.media_endpoint",
}  # fmt: skip
"""Text, paths and switches; width, height, mask, hours and start have tests of their own."""
TAKEN = [(path, value) for path, (taken, _) in BOUNDS.items() for value in taken]
REFUSED = [(path, value) for path, (_, refused) in BOUNDS.items() for value in refused]


def loaded(**overrides: Any) -> AllSettings:
    """With ``section__key`` for ``section.key``."""
    given_flags = {name.replace("__", ".", 1): value for name, value in overrides.items()}
    return load_with_origins(AllSettings, None, given_flags, {}).settings


def test_a_spool_must_be_one_that_can_be_emptied_and_is_no_place_to_drop_from() -> None:
    with pytest.raises(SettingsError, match="catch_up_fps must be more than fps, or nothing is ever caught up; got 10"):
        loaded(producer__catch_up_fps=10.0)
    assert loaded(producer__catch_up_fps=5.0, producer__catch_up="newest-first").producer.catch_up_fps == 5
    with pytest.raises(SettingsError, match="with spool_dir frames are kept, leave when_full out; got oldest"):
        loaded(producer__spool_dir="spool", producer__when_full="oldest")


def value_of(told: BaseModel, path: str) -> Any:
    section, _, key = path.partition(".")
    return getattr(getattr(told, section), key)


def test_no_setting_is_left_out_here() -> None:
    assert BOUNDS.keys() | UNBOUNDED == known_paths()


@pytest.mark.parametrize(("path", "value"), TAKEN)
def test_a_setting_at_its_bound_is_taken_from_a_flag_and_from_the_environment(path: str, value: Any) -> None:
    flag = load_with_origins(AllSettings, None, {path: value}, {})
    assert value_of(flag.settings, path) == value
    if value != "":
        env = load_with_origins(AllSettings, None, {}, {as_environment(path): str(value)})
        assert value_of(env.settings, path) == value


@pytest.mark.parametrize(("path", "value"), REFUSED)
def test_a_setting_outside_its_bounds_is_refused_with_its_name_its_value_and_its_origin(path: str, value: Any) -> None:
    with pytest.raises(SettingsError) as refused:
        load_with_origins(AllSettings, None, {path: value}, {})
    line = str(refused.value)
    assert line.startswith(f"{path}: ")
    assert line.endswith(f"got {value!r:.80} (flag)")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_no_number_may_be_endless(number: float) -> None:
    fields = {f"{name}.{key}": about.annotation for name, key, about in each_field()}
    floats = sorted(path for path, kind in fields.items() if "float" in str(kind) and path != "producer.mask")
    assert len(floats) > 25
    for path in floats:
        with pytest.raises(SettingsError, match=path.replace(".", r"\.")):
            load_with_origins(AllSettings, None, {path: number}, {})


def each_field() -> list[tuple[str, str, Any]]:
    sections = [(name, field.annotation) for name, field in AllSettings.model_fields.items()]
    return [(name, key, about) for name, kind in sections for key, about in getattr(kind, "model_fields", {}).items()]


def test_every_mistake_is_told_at_once_each_on_its_line() -> None:
    with pytest.raises(SettingsError) as refused:
        load_with_origins(AllSettings, None, {"producer.fps": 0, "events.enter": 2}, {"ENGRAM_LOG__LEVEL": "loud"})
    lines = str(refused.value).splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == ["events.enter", "log.level", "producer.fps"]
    assert any(line.endswith("got 'loud' (env ENGRAM_LOG__LEVEL)") for line in lines)
    assert isinstance(refused.value, FatalError)


@pytest.mark.parametrize("missing", ["sasl_mechanism", "username", "password"])
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_sasl_needs_all_three(protocol: str, missing: str) -> None:
    whole = {"kafka__sasl_mechanism": "PLAIN", "kafka__username": "u", "kafka__password": "p"}
    assert loaded(kafka__security_protocol=protocol, **whole).kafka.username == "u"
    del whole[f"kafka__{missing}"]
    with pytest.raises(SettingsError, match=f"^kafka: {protocol} needs sasl_mechanism, username and password"):
        loaded(kafka__security_protocol=protocol, **whole)
    loaded(kafka__security_protocol="SSL", **whole)  # which asks for none of them


def test_a_file_serves_in_place_of_a_password_and_is_all_that_a_token_needs() -> None:
    sasl = {"kafka__security_protocol": "SASL_SSL", "kafka__credentials_file": "/run/secrets/kafka"}
    assert loaded(**sasl, kafka__sasl_mechanism="PLAIN", kafka__username="u").kafka.password is None
    assert loaded(**sasl, kafka__sasl_mechanism="OAUTHBEARER").kafka.username is None
    with pytest.raises(SettingsError, match=r"^kafka: OAUTHBEARER needs credentials_file"):
        loaded(kafka__security_protocol="SASL_SSL", kafka__sasl_mechanism="OAUTHBEARER", kafka__password="p")


@pytest.mark.parametrize(
    ("twice", "says"),
    [
        ({"kafka__password": "p", "kafka__credentials_file": "/p"}, "kafka: a password is given twice"),
        ({"store__password": "p", "store__credentials_file": "/p"}, "store: a password is given twice"),
        ({"kafka__mac_keys": "k", "kafka__mac_keys_path": "/k"}, "kafka: keys are given twice"),
    ],
)
def test_what_is_given_twice_is_refused(twice: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        loaded(**twice)


def test_a_size_is_both_sides_or_neither() -> None:
    size = loaded(producer__width=16, producer__height=8192).producer
    assert (size.width, size.height) == (16, 8192)
    assert (loaded().producer.width, loaded().producer.height) == (None, None)
    for side, other in (("width", "height"), ("height", "width")):
        with pytest.raises(SettingsError, match="width and height must be given both or not at all"):
            load_with_origins(AllSettings, None, {f"producer.{side}": 64}, {})
        for wrong in (15, 8193):
            with pytest.raises(SettingsError, match=rf"^producer\.{side}: "):
                load_with_origins(AllSettings, None, {f"producer.{side}": wrong, f"producer.{other}": 64}, {})


@given(st.none() | st.floats(0, 1), st.none() | st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_an_event_closes_no_higher_than_it_opens(enter: float | None, closing: float | None) -> None:
    if enter is not None and closing is not None and closing > enter:
        with pytest.raises(SettingsError, match="events: exit must be at most enter"):
            loaded(events__enter=enter, events__exit=closing)
    else:
        events = loaded(events__enter=enter, events__exit=closing).events
        assert (events.enter, events.exit) == (enter, closing)


@pytest.mark.parametrize(
    ("mask", "place"),
    [
        ([[[0, 0], [1, 1]]], "3 corners or more"),
        ([[[0, 0], [1, 1], [1.01, 0]]], "less than or equal to 1"),
        ([[[0, 0], [1, 1], [-0.01, 0]]], "greater than or equal to 0"),
        ([[[0, 0, 0], [1, 1], [0, 1]]], r"a polygon \[\[x, y\], …\]"),
        ("{", "must be a list in brackets"),
    ],
)
def test_a_mask_is_polygons_within_the_image(mask: object, place: str) -> None:
    with pytest.raises(SettingsError, match=rf"^producer\.mask: .*{place}"):
        load_with_origins(AllSettings, None, {"producer.mask": mask}, {})


@pytest.mark.parametrize(
    ("host", "letters"),
    [
        ("gate.example.org", "gate.example.org"),
        ("my_host (2)", "my-host--2-"),
        ("-.odd", "odd"),
        ("...", "host"),
        ("", "host"),
        ("h" * 60, "h" * 48),
    ],
)
def test_whatever_the_machine_is_called_its_processes_have_ids(
    monkeypatch: pytest.MonkeyPatch, host: str, letters: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    monkeypatch.setattr(os, "getpid", lambda: 4_194_304)
    assert host_and_pid() == f"{letters}-4194304"
    assert TypeAdapter(Id).validate_python(host_and_pid())


def test_the_default_store_follows_the_home_that_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENGRAM_HOME", str(tmp_path / "home"))
    assert loaded().store.url == f"sqlite:///{tmp_path}/home/banks.db"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGRAM_HOME", "near")
    assert loaded().store.url == f"sqlite:///{tmp_path}/near/banks.db"
    monkeypatch.delenv("ENGRAM_HOME")
    assert str(tmp_path) not in loaded().store.url


def test_settings_of_a_process_come_from_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGRAM_PRODUCER__FPS", "3.5")
    assert load_settings(ProducerSettings, None, {}).producer.fps == 3.5
    assert load_with_origins(ProducerSettings, None, {}).origins["producer.fps"] == "env ENGRAM_PRODUCER__FPS"
    assert load_settings(ProducerSettings, None, {"producer.fps": 4}).producer.fps == 4
