"""Files, environment and flags: which one wins, and what each says when it cannot be used."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import SettingsError
from schemas.settings import AllSettings, ConsumerSettings, WatchSettings, WorkerSettings, load_with_origins, masked
from schemas.settings.layers import (
    MAX_SECRET_BYTES,
    as_environment,
    environment_layer,
    file_layer,
    flag_layer,
    is_secret,
    known_paths,
)

NUMBERS = {"producer.fps": 10.0, "events.merge_gap_s": 2.0, "worker.max_wait_ms": 20.0, "memory.max_age_s": None}
"""Settings that take any small positive number, and what they are by default."""
SOME = st.dictionaries(st.sampled_from(sorted(NUMBERS)), st.integers(1, 200), max_size=len(NUMBERS))


def write(folder: Path, text: str) -> Path:
    path = folder / "engram.toml"
    path.write_text(text, "utf-8")
    return path


def value_of(loaded: Any, path: str) -> Any:
    section, _, key = path.partition(".")
    return getattr(getattr(loaded.settings, section), key)


@given(SOME, SOME, SOME)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_for_each_setting_the_last_source_that_names_it_wins(
    tmp_path: Path, in_file: dict[str, int], in_environment: dict[str, int], in_flags: dict[str, int]
) -> None:
    sections: dict[str, list[str]] = {}
    for path, value in in_file.items():
        section, _, key = path.partition(".")
        sections.setdefault(section, []).append(f"{key} = {value}\n")
    file = write(tmp_path, "".join(f"[{name}]\n{''.join(lines)}" for name, lines in sections.items()))
    environ = {as_environment(path): str(value) for path, value in in_environment.items()}
    found = load_with_origins(AllSettings, file, in_flags, environ)
    for path, default in NUMBERS.items():
        if path in in_flags:
            wanted: tuple[object, str] = (in_flags[path], "flag")
        elif path in in_environment:
            wanted = (in_environment[path], f"env {as_environment(path)}")
        elif path in in_file:
            wanted = (in_file[path], f"file {file}")
        else:
            wanted = (default, "default")
        assert (value_of(found, path), found.origins[path]) == wanted


def test_origins_are_those_of_the_sections_that_the_process_has() -> None:
    found = load_with_origins(ConsumerSettings, None, {"log.level": "debug"}, {})
    assert found.origins.keys() == {path for path in known_paths() if path.startswith(("kafka.", "log.", "http."))}
    assert [path for path, origin in found.origins.items() if origin != "default"] == ["log.level"]


def test_a_value_in_a_section_of_another_process_is_left_where_it_is() -> None:
    found = load_with_origins(ConsumerSettings, None, {"producer.fps": 3}, {"ENGRAM_EVENTS__ENTER": "0.5"})
    assert found.settings == ConsumerSettings()


@pytest.mark.parametrize("value", [0, False, "", 0.0])
def test_a_flag_that_is_given_as_nothing_much_is_still_given(value: object) -> None:
    assert {key: given.value for key, given in flag_layer({"kafka.client_id": value}).items()} == {
        "kafka.client_id": value
    }
    assert flag_layer({"kafka.client_id": None, "no.such": None}) == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[kafka]\nclient_id = '\xff'\n", "must be TOML"),
        (b"[kafka]\nclient_id = 1\nclient_id = 2\n", "must be TOML"),
        (b"'log.level' = 'debug'\n", r"\[log\.level\] must be a table, got 'debug'"),
        (b"[kafka.tls]\nx = 1\n", r"kafka\.tls is no setting"),
        (b"[zzz]\n", r"\[zzz\] is no setting; see 'engram config show' for all settings"),
        (b"[[kafka]]\nclient_id = 'a'\n", r"kafka"),
        (b"[kafka]\nlevel = 'debug'\n", r"kafka\.level is no setting"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "engram.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=said) as refused:
        file_layer(path)
    assert str(path) in str(refused.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"must be readable, got Is a directory") as refused:
        file_layer(tmp_path)
    assert str(tmp_path) in str(refused.value)


def test_an_empty_file_and_empty_sections_say_nothing(tmp_path: Path) -> None:
    assert file_layer(write(tmp_path, "")) == {}
    assert file_layer(write(tmp_path, "[kafka]\n[producer]\n")) == {}


def test_a_section_where_a_setting_should_be_is_told_as_one(tmp_path: Path) -> None:
    """Not asked whether it means itself."""
    file = write(tmp_path, "log = 3\n")
    for layer, said in (
        (lambda: file_layer(file), f"{file}: log is a section; name a setting of it, such as log.format"),
        (lambda: environment_layer({"ENGRAM_LOG": "x"}), "ENGRAM_LOG is a section; .*, such as ENGRAM_LOG__FORMAT$"),
        (lambda: flag_layer({"log": "x"}), "flag: log is a section; .*, such as log.format$"),
    ):
        with pytest.raises(SettingsError, match=said):
            layer()


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"a", "a"), (b"a\n", "a"), (b"a\r\n", "a"), (b"a\n\n", "a"), (b" a b ", " a b "), ("ключ\n".encode(), "ключ")],
)
def test_a_mounted_secret_loses_its_line_end_and_nothing_else(tmp_path: Path, content: bytes, secret: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    layer = environment_layer({"ENGRAM_KAFKA__PASSWORD_FILE": str(file)})
    assert {key: (given.value, given.origin) for key, given in layer.items()} == {
        "kafka.password": (secret, "env ENGRAM_KAFKA__PASSWORD_FILE")
    }


def test_a_mounted_secret_of_any_size_costs_bounded_memory(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"x" * (MAX_SECRET_BYTES + 10))
    assert len(str(environment_layer({"ENGRAM_KAFKA__PASSWORD_FILE": str(file)})["kafka.password"].value)) == 65536


def test_any_setting_may_come_from_a_mounted_file(tmp_path: Path) -> None:
    file = tmp_path / "fps"
    file.write_text("7.5\n")
    found = load_with_origins(AllSettings, None, {}, {"ENGRAM_PRODUCER__FPS_FILE": str(file)})
    assert (value_of(found, "producer.fps"), found.origins["producer.fps"]) == (7.5, "env ENGRAM_PRODUCER__FPS_FILE")


def test_a_mounted_file_that_cannot_be_read_is_named_only_where_it_cannot_be_the_secret(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for given_path, named, reason in (
        (str(tmp_path / "missing"), f"'{tmp_path / 'missing'}'", "No such file or directory"),
        (str(tmp_path), f"'{tmp_path}'", "Is a directory"),
        (str(binary), f"'{binary}'", "it is not UTF-8"),
        ("hunter2", "a relative path", "No such file or directory"),
    ):
        with pytest.raises(SettingsError) as refused:
            environment_layer({"ENGRAM_STORE__PASSWORD_FILE": given_path})
        text = f"ENGRAM_STORE__PASSWORD_FILE must name a readable text file by its full path, got {named}: {reason}"
        assert str(refused.value) == text


@pytest.mark.parametrize("names", [("ENGRAM_STORE__PASSWORD", "ENGRAM_STORE__PASSWORD_FILE")])
def test_two_variables_for_one_setting_are_both_named(tmp_path: Path, names: tuple[str, str]) -> None:
    file = tmp_path / "secret"
    file.write_text("x")
    with pytest.raises(SettingsError, match=f"^{names[1]} and env {names[0]} must not both be given; unset one$"):
        environment_layer({names[1]: str(file), names[0]: "y"})
    assert environment_layer({names[1]: str(file), names[0]: ""}).keys() == {"store.password"}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ENGRAM_KAFKA__BOOTSTRAP", "did you mean ENGRAM_KAFKA__BOOTSTRAP_SERVERS?"),
        ("ENGRAM_QQQQ__ZZZZ", "see 'engram config show' for all settings"),
        ("ENGRAM_TESTS", "see 'engram config show' for all settings"),
        ("ENGRAM_HOME_", "see 'engram config show' for all settings"),
        ("ENGRAM_PRODUCER__FPS_FILES", "did you mean ENGRAM_PRODUCER__FPS?"),
        ("ENGRAM_KAFKA__CLIENT__ID", "did you mean ENGRAM_KAFKA__CLIENT_ID?"),
    ],
)
def test_a_variable_that_is_no_setting_is_told_with_the_nearest_one(name: str, hint: str) -> None:
    with pytest.raises(SettingsError) as refused:
        environment_layer({name: "x"})
    assert str(refused.value).startswith(f"environment: {name} is no setting; ")
    if "did you mean" in hint or "QQQQ" in name:
        assert str(refused.value).endswith(hint)


def test_variables_of_others_are_left_alone() -> None:
    names = ("PATH", "ENGRAMS", "engram_kafka__group", "MY_ENGRAM_LOG__LEVEL", "ENGRAM_TEST_", "ENGRAM_TEST_REDIS")
    assert environment_layer(dict.fromkeys(names, "x")) == {}


def test_only_passwords_are_secrets_and_every_one_is() -> None:
    secrets = {"console.tokens", "kafka.password", "kafka.mac_keys", "store.password"}
    assert {path for path in known_paths() if is_secret(path)} == secrets


def test_a_secret_is_stars_when_shown_and_itself_when_used() -> None:
    found = load_with_origins(WatchSettings, None, {"kafka.password": "hunter2", "store.password": ""}, {})
    assert found.settings.kafka.password is not None
    assert found.settings.kafka.password.get_secret_value() == "hunter2"
    shown = masked(found.settings)
    assert shown["kafka.password"] == "**********"
    assert shown["store.password"] == "**********"
    assert masked(load_with_origins(WatchSettings, None, {}, {}).settings)["kafka.password"] is None


def test_what_is_shown_is_what_was_loaded_with_paths_as_text() -> None:
    found = load_with_origins(WorkerSettings, None, {"worker.bundle": "/b", "worker.threads": 3}, {})
    shown = masked(found.settings)
    assert shown.keys() == found.origins.keys()
    assert (shown["worker.bundle"], shown["worker.threads"]) == ("/b", 3)
    assert (shown["memory.updates"], shown["memory.max_age_s"]) == (True, None)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("0", False), ("off", False), ("yes", True)])
def test_switches_are_read_from_words(text: str, value: bool) -> None:
    found = load_with_origins(WorkerSettings, None, {}, {"ENGRAM_MEMORY__UPDATES": text})
    assert found.settings.memory.updates is value


def test_a_value_that_is_refused_is_shown_in_part_when_it_is_long() -> None:
    with pytest.raises(SettingsError) as refused:
        load_with_origins(WorkerSettings, None, {"log.level": "x" * 1000}, {})
    assert len(str(refused.value)) < 250
