"""Precedence, origins, secrets, and errors that name the place."""

from pathlib import Path

import pytest

from schemas.errors import SettingsError
from schemas.settings import (
    AllSettings,
    ConsumerSettings,
    ProducerSettings,
    WatchSettings,
    WorkerSettings,
    load_with_origins,
    masked,
)
from schemas.settings.layers import as_environment, known_paths


def write(folder: Path, text: str) -> Path:
    path = folder / "engram.toml"
    path.write_text(text, "utf-8")
    return path


def test_defaults_need_nothing() -> None:
    loaded = load_with_origins(ProducerSettings, None, {}, {})
    assert loaded.settings.kafka.bootstrap_servers == "127.0.0.1:9092"
    assert loaded.settings.producer.fps == 10
    assert set(loaded.origins.values()) == {"default"}


def test_a_later_source_wins_and_is_named_as_the_origin(tmp_path: Path) -> None:
    file = write(tmp_path, "[producer]\nfps = 5\njpeg_quality = 70\nmax_frame_bytes = 4096\n")
    environ = {"ENGRAM_PRODUCER__FPS": "6", "ENGRAM_PRODUCER__JPEG_QUALITY": "71"}
    loaded = load_with_origins(ProducerSettings, file, {"producer.fps": 7.0, "producer.width": None}, environ)
    assert loaded.settings.producer.fps == 7
    assert loaded.settings.producer.jpeg_quality == 71
    assert loaded.settings.producer.max_frame_bytes == 4096
    assert loaded.origins["producer.fps"] == "flag"
    assert loaded.origins["producer.jpeg_quality"] == "env ENGRAM_PRODUCER__JPEG_QUALITY"
    assert loaded.origins["producer.max_frame_bytes"] == f"file {file}"
    assert loaded.origins["producer.width"] == "default"


def test_one_file_serves_all_processes_and_is_checked_whole(tmp_path: Path) -> None:
    file = write(tmp_path, "[producer]\nfps = 5\n[events]\nmerge_gap_s = 4\n[kafka]\nclient_id = 'x'\n")
    assert load_with_origins(ConsumerSettings, file, {}, {}).settings.kafka.client_id == "x"
    assert load_with_origins(WorkerSettings, file, {}, {}).settings.events.merge_gap_s == 4
    assert "producer.fps" not in load_with_origins(WorkerSettings, file, {}, {}).origins
    bad = write(tmp_path, "[events]\nmerge_gap_s = -1\n")
    with pytest.raises(SettingsError, match=r"events\.merge_gap_s: .*greater than or equal to 0, got -1 \(file "):
        load_with_origins(ProducerSettings, bad, {}, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[kafka]\nbootstrap_server = 'a:1'\n",
            r"kafka\.bootstrap_server is no setting; did you mean kafka\.bootstrap_servers\?",
        ),
        ("[kafak]\nclient_id = 'a'\n", r"\[kafak\] is no setting; did you mean kafka\?"),
        ("client_id = 'a'\n", r"client_id is no setting"),
        ("kafka = 3\n", r"kafka"),
        ("[kafka\n", r"must be TOML"),
        (f"a = {'[' * 5000}{']' * 5000}", r"must be TOML: .*: its lists or tables lie too deep in one another"),
        ("[worker]\nworker_id = 'two words'\n", r"worker\.worker_id: .*got 'two words'"),
        ("[events]\nenter = 0.5\nexit = 0.9\n", r"events: exit must be at most enter"),
        ("[kafka]\nsecurity_protocol = 'SASL_SSL'\n", r"kafka: SASL_SSL needs sasl_mechanism"),
        ("[producer]\nwidth = 64\n", r"producer: width and height"),
        ("[producer]\nfps = inf\n", r"producer\.fps"),
        ("[store]\nurl = 'mysql://x'\n", r"store\.url"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_and_a_hint(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_with_origins(WatchSettings, write(tmp_path, text), {}, {})


def test_a_mark_that_some_editors_put_before_the_text_is_none_of_it(tmp_path: Path) -> None:
    file = tmp_path / "engram.toml"
    file.write_text("[producer]\nfps = 3\n", "utf-8-sig")
    assert load_with_origins(ProducerSettings, file, {}, {}).settings.producer.fps == 3


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"must be readable.*nowhere\.toml"):
        load_with_origins(WatchSettings, tmp_path / "nowhere.toml", {}, {})


def test_an_unknown_environment_name_is_refused_in_its_own_spelling() -> None:
    with pytest.raises(SettingsError, match=r"ENGRAM_KAFKA__GRUOP is no setting; did you mean ENGRAM_KAFKA__GROUP\?"):
        load_with_origins(ProducerSettings, None, {}, {"ENGRAM_KAFKA__GRUOP": "x"})
    with pytest.raises(SettingsError, match=r"ENGRAM_PRODUCER_FPS is no setting; did you mean ENGRAM_PRODUCER__FPS\?"):
        load_with_origins(ProducerSettings, None, {}, {"ENGRAM_PRODUCER_FPS": "x"})


def test_reserved_foreign_and_empty_names_are_left_alone() -> None:
    environ = {
        "ENGRAM_HOME": "/x",
        "ENGRAM_TEST_KAFKA": "a:1",
        "ENGRAM_REFERENCE": "/y",
        "ENGRAM_CONFIG": "/z",
        "PATH": "/bin",
        "ENGRAM_KAFKA__GROUP": "",
    }
    loaded = load_with_origins(ProducerSettings, None, {}, environ)
    assert loaded.settings == ProducerSettings()
    assert loaded.origins["kafka.group"] == "default"


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"did you mean producer\.fps"):
        load_with_origins(ProducerSettings, None, {"producer.fsp": 3}, {})


def test_secrets_come_from_mounted_files_and_are_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2 \n", "utf-8")
    environ = {
        "ENGRAM_STORE__PASSWORD_FILE": str(secret),
        "ENGRAM_STORE__URL": "redis://me:hunter3@host:1/0",
        "ENGRAM_STORE__USERNAME": "u",
    }
    loaded = load_with_origins(WorkerSettings, None, {}, environ)
    assert loaded.settings.store.password is not None
    assert loaded.settings.store.password.get_secret_value() == "hunter2 "
    assert loaded.origins["store.password"] == "env ENGRAM_STORE__PASSWORD_FILE"
    shown = masked(loaded.settings)
    assert shown["store.url"] == "redis://me:**********@host:1/0"
    assert shown["store.username"] == "u"
    assert "hunter" not in repr(shown)
    assert "hunter2" not in repr(loaded)


def test_both_forms_of_a_secret_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(SettingsError, match=r"ENGRAM_STORE__PASSWORD_FILE must name a readable text file"):
        load_with_origins(WorkerSettings, None, {}, {"ENGRAM_STORE__PASSWORD_FILE": missing})
    secret = tmp_path / "password"
    secret.write_text("x", "utf-8")
    environ = {"ENGRAM_STORE__PASSWORD_FILE": str(secret), "ENGRAM_STORE__PASSWORD": "y"}
    with pytest.raises(SettingsError, match="must not both be given"):
        load_with_origins(WorkerSettings, None, {}, environ)


def test_an_error_about_a_password_does_not_tell_it() -> None:
    with pytest.raises(SettingsError) as caught:
        load_with_origins(WatchSettings, None, {"kafka.password": ["hunter2"]}, {})
    assert "kafka.password" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_setting_that_ends_in_file_is_no_mounted_secret() -> None:
    loaded = load_with_origins(ProducerSettings, None, {}, {"ENGRAM_KAFKA__SSL_CAFILE": "/ca.pem"})
    assert loaded.settings.kafka.ssl_cafile == Path("/ca.pem")


def test_masks_come_as_tables_or_as_json_text(tmp_path: Path) -> None:
    corners = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5))
    file = write(tmp_path, "[producer]\nmask = [[[0, 0], [0.5, 0], [0, 0.5]]]\n")
    assert load_with_origins(ProducerSettings, file, {}, {}).settings.producer.mask == (corners,)
    environ = {"ENGRAM_PRODUCER__MASK": "[[[0,0],[0.5,0],[0,0.5]]]"}
    assert load_with_origins(ProducerSettings, None, {}, environ).settings.producer.mask == (corners,)
    for broken in ("[[[0,0],[0.5,0]]]", "[[[0,0],[2,0],[0,1]]]", "[["):
        with pytest.raises(SettingsError, match=r"producer\.mask"):
            load_with_origins(ProducerSettings, None, {}, {"ENGRAM_PRODUCER__MASK": broken})


def test_every_setting_can_be_named_in_the_environment() -> None:
    shown = masked(AllSettings())
    assert set(shown) == known_paths()
    plain = {path: value for path, value in shown.items() if isinstance(value, (int, float, str)) and value != ""}
    environ = {as_environment(path): str(value) for path, value in plain.items()}
    loaded = load_with_origins(AllSettings, None, {}, environ)
    assert loaded.settings == AllSettings()
    assert all(loaded.origins[path].startswith("env ") for path in plain)


SECRETS = {
    "a scheme mistyped": {"ENGRAM_STORE__URL": "reds://me:hunter2@host:6379/0"},
    "a colon forgotten": {"ENGRAM_STORE__URL": "redis//me:hunter2@host:6379/0"},
    "a port that is a word": {"ENGRAM_STORE__URL": "redis://me:hunter2@host:port/0"},
    "a letter that splits the password": {"ENGRAM_STORE__URL": "redis://me:hunter2#x@host:6379/0"},
    "a slash in the password": {"ENGRAM_STORE__URL": "redis://:hunter2/x@host:6379/0"},
    "a long one": {"ENGRAM_STORE__URL": "redi://" + "m" * 70 + ":hunter2@host"},
    "an @ forgotten": {"ENGRAM_STORE__URL": "redis://me:hunter2host:6379/0"},
    "a parameter": {"ENGRAM_STORE__URL": "reds://host/0?password=hunter2"},
    "a broker with a user": {"ENGRAM_KAFKA__BOOTSTRAP_SERVERS": "SASL_SSL://me:hunter2@kafka:9092"},
    "the secret for its file": {"ENGRAM_STORE__PASSWORD_FILE": "hunter2"},
    "a password without a protocol's rest": {
        "ENGRAM_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "ENGRAM_KAFKA__PASSWORD": "hunter2",
    },
    "a key mistyped": {"ENGRAM_STORE__PASWORD": "hunter2"},
}


@pytest.mark.parametrize("mistake", SECRETS)
def test_no_mistake_shows_a_password(mistake: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_with_origins(AllSettings, None, {}, SECRETS[mistake])
    assert "hunter2" not in str(refused.value)


def test_no_mistake_in_a_file_shows_a_password(tmp_path: Path) -> None:
    file = tmp_path / "engram.toml"
    for text in ("store = 'redis://me:hunter2@host'", "[store]\npassword = ['hunter2']", "[store]\nurl = ['hunter2'"):
        file.write_text(text, "utf-8")
        with pytest.raises(SettingsError) as refused:
            load_with_origins(AllSettings, file, {}, {})
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("servers", ["kafka", "kafka:9092,other", "http://kafka:9092", "kafka:9092/x", "kafka:99999"])
def test_a_broker_without_a_port_is_refused_where_it_is_written(servers: str) -> None:
    with pytest.raises(SettingsError, match=r"kafka\.bootstrap_servers: must be host:port"):
        load_with_origins(AllSettings, None, {}, {"ENGRAM_KAFKA__BOOTSTRAP_SERVERS": servers})


@pytest.mark.parametrize("url", ["redis://", "redis://host:0/0", "rediss://host:x/0", "redis:///0"])
def test_a_store_without_a_host_or_a_port_that_is_one_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"store\.url: must be redis://host:6379/0"):
        load_with_origins(AllSettings, None, {}, {"ENGRAM_STORE__URL": url})
