"""What is typed after a command is what its work is given: each flag by itself, and no flag is left out."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from bundles.bundle import save_bundle
from engram import doctor
from engram.build.shipped import WALKWAY, shipped_bundle
from engram.cli.app import app
from engram.cli.invocation import COMMON
from engram.demo.checks import Check
from engram.run import fleet, producer, watch
from engram.run.embedded import Outcome
from schemas.settings import AllSettings, Loaded, Settings
from tests.small_bundle import small_bundle
from workers.output import Tally
from workers.worker import WorkerSnapshot

Call = tuple[Any, ...]
KAFKA = [
    (("--bootstrap-servers", "a:1,b:2"), "kafka.bootstrap_servers", "a:1,b:2"),
    (("--topic-prefix", "site."), "kafka.topic_prefix", "site."),
]
HTTP = (("--http", "9100"), "http.listen", "9100")
STORE = (("--store", "redis://h:1/0"), "store.url", "redis://h:1/0")
NETWORK = [
    (("--bundle", "b"), "worker.bundle", Path("b")),
    (("--device", "cuda:1"), "worker.device", "cuda:1"),
    (("--backend", "onnx"), "worker.backend", "onnx"),
]
FILM = [(("--fps", "4"), "producer.fps", 4.0), (("--pace", "backfill"), "producer.pace", "backfill")]
START = (
    ("--start", "2026-01-31T08:00:00Z"),
    "producer.start",
    datetime(2026, 1, 31, 8, 0, tzinfo=timezone.utc),
)
SETTINGS: dict[str, list[tuple[tuple[str, ...], str, object]]] = {
    "work": [
        *KAFKA,
        *NETWORK,
        STORE,
        HTTP,
        (("--worker-id", "w7"), "worker.worker_id", "w7"),
        (("--threads", "3"), "worker.threads", 3),
    ],
    "coordinate": [*KAFKA, NETWORK[0], STORE, HTTP],
    "produce": [
        *KAFKA,
        *FILM,
        HTTP,
        (("--source-fps", "7"), "producer.source_fps", 7.0),
        (("--width", "64", "--height", "48"), "producer.width", 64),
        (("--width", "64", "--height", "48"), "producer.height", 48),
        (("--colours", "grey"), "producer.colours", "grey"),
        (("--spool-dir", "kept"), "producer.spool_dir", Path("kept")),
        (("--jpeg-quality", "55"), "producer.jpeg_quality", 55),
        START,
        (("--session", "s9"), "producer.session", "s9"),
        (("--spool-dir", "spool"), "producer.spool_dir", Path("spool")),
    ],
    "watch": [
        (("--listen", "9000"), "console.listen", "9000"),
        *NETWORK[1:],
        *FILM,
        STORE,
        START,
        HTTP,
        (("--updates",), "memory.updates", True),
        (("--no-updates",), "memory.updates", False),
    ],
    "doctor": [*KAFKA, NETWORK[0], STORE],
}
"""Flags that are settings, and the value that they give."""
ARGUMENTS: dict[str, set[str]] = {
    "work": set(),
    "coordinate": set(),
    "produce": {"--camera", "--source-file", "--bundle"},
    "watch": {"--camera", "--source-file", "--scores", "--clips", "--keep", "--output", "--bundle", "--console"},
    "doctor": {"--process", "--source", "--output"},
}
"""Flags that are no settings; each has a test of its own below, as has watch's bundle, which is opened first; that of
``--console`` is in test_run_console.py."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "small"
    save_bundle(path, small_bundle())
    return path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Call]]:
    """What the work of each command was called with, in place of the work."""
    made: list[Call] = []

    def instead(result: object = None) -> Callable[..., object]:
        def note(*given: object) -> object:
            made.append(given)
            return result

        return note

    calm = Outcome(0, WorkerSnapshot(Tally(), 0, 0, 0), {})
    monkeypatch.setattr(fleet, "run_worker", instead())
    monkeypatch.setattr(fleet, "run_coordinator", instead())
    monkeypatch.setattr(producer, "run_producer", instead())
    monkeypatch.setattr(watch, "run_watch", instead(calm))
    monkeypatch.setattr(doctor, "diagnoses", instead(()))
    yield made


def call(*words: object, **environment: str) -> Result:
    done = CliRunner(env=environment).invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done


def given(name: str, words: Sequence[str], small: Path) -> Sequence[str]:
    """A whole line: with what the command must have besides."""
    film = "synthetic://walkway?seed=1&seconds=1"
    needed = {"produce": [film], "watch": [film, "--bundle", str(small)]}
    return [name, *needed.get(name, []), *words]


def settings_of(call: Call) -> Any:
    """What the work was given first, with or without where its values are from."""
    return call[0].settings if isinstance(call[0], Loaded) else call[0]


def value_of(settings: Settings, path: str) -> object:
    section, _, key = path.partition(".")
    return getattr(getattr(settings, section), key)


CASES = [(name, *case) for name, cases in SETTINGS.items() for case in cases]


@pytest.mark.parametrize(("name", "words", "path", "value"), CASES, ids=[f"{c[0]} {c[1][0]} {c[2]}" for c in CASES])
def test_a_flag_is_a_setting(
    name: str, words: tuple[str, ...], path: str, value: object, calls: list[Call], small: Path
) -> None:
    call(*given(name, words, small))
    assert value_of(settings_of(calls[0]), path) == value


@pytest.mark.parametrize("name", SETTINGS)
def test_a_flag_that_is_not_given_leaves_the_setting_alone(name: str, calls: list[Call], small: Path) -> None:
    """``None`` of a flag must not reach the settings, and what the environment says counts."""
    call(*given(name, (), small), ENGRAM_KAFKA__CLIENT_ID="mine", ENGRAM_PRODUCER__FPS="3", ENGRAM_STORE__TIMEOUT_S="2")
    settings = settings_of(calls[0])
    plain = AllSettings()
    for section, changed in (
        ("kafka", {"client_id": "mine"}),
        ("producer", {"fps": 3.0, "pace": "backfill" if name == "watch" else "live"}),
        ("store", {"timeout_s": 2.0}),
    ):
        if hasattr(settings, section) and (name, section) != ("watch", "store"):
            assert getattr(settings, section) == getattr(plain, section).model_copy(update=changed)


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command under ``command``, which is typer's own and not click's."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, sub in command.commands.items():
        yield from walk(sub, (*path, name))


COMMANDS = dict(walk(typer.main.get_command(app)))


def flags_of(command: Any) -> set[str]:
    """Every long flag but those that all commands have."""
    common = {f"--{name.replace('_', '-')}" for name in COMMON} | {"--help"}
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    names = {name for option in options for name in (*option.opts, *option.secondary_opts) if name.startswith("--")}
    return names - common


@pytest.mark.parametrize("name", SETTINGS)
def test_no_flag_is_left_out_here(name: str) -> None:
    tried = {word for words, _, _ in SETTINGS[name] for word in words if word.startswith("--")}
    assert tried | ARGUMENTS[name] == flags_of(COMMANDS[name,])


def test_every_flag_and_argument_is_listed_and_explained_in_the_help() -> None:
    parameters = [(" ".join(path), one) for path, command in COMMANDS.items() for one in command.params]
    assert len(parameters) > 100
    assert not [(path, one.name) for path, one in parameters if one.name != "help" and not one.help]
    assert not [(path, one.name) for path, one in parameters if one.hidden]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_examples_of_the_help_can_be_typed(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every flag and value of an example is one that the command takes."""
    monkeypatch.delenv("ENGRAM_CONFIG", raising=False)
    command = COMMANDS[path]
    examples = [part for part in (command.help or "").split("\n\n") if " ".join(("engram", *path)) in part]
    assert examples
    for text in examples:
        words = shlex.split(text.partition(" ".join(("engram", *path)))[2])
        command.make_context(path[-1], words)  # raises a usage error for what cannot be typed


def test_the_producer_is_given_sources_and_names(
    calls: list[Call], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "more").write_text("# yard\nrtsp://user:s3cr3t@yard/1\n")
    monkeypatch.setenv("GATE", "rtsp://gate/1")
    call("produce", "env:GATE", "film.mp4", "--source-file", tmp_path / "more", "--camera", "a", "--camera", "b")
    (_, sources, names, stop, reload, bundle) = calls[0]
    assert (reload.path, bundle) == (None, None)
    assert sources == ("rtsp://gate/1", "film.mp4", "rtsp://user:s3cr3t@yard/1")
    assert list(names) == ["a", "b"]
    assert not stop.is_set()


def test_the_producer_takes_size_and_rate_from_a_bundle_unless_they_are_given(calls: list[Call], small: Path) -> None:
    call("produce", "film.mp4", "--bundle", small)
    call("produce", "film.mp4", "--bundle", small, "--fps", "3", "--topic-prefix", "site.")
    taken, given_rate = (settings_of(each).producer for each in calls)
    assert (taken.fps, taken.width, taken.height) == (10.0, 32, 24)
    assert (given_rate.fps, given_rate.width, given_rate.height) == (3.0, 32, 24)
    assert settings_of(calls[1]).kafka.topic_prefix == "site."


def test_nothing_to_send_is_refused_before_any_work() -> None:
    done = CliRunner().invoke(app, ["produce"])
    assert done.exit_code == 2
    assert "give SOURCE or --source-file FILE, or [cameras.NAME]" in done.stderr


def test_watch_is_given_sources_names_and_a_table(
    calls: list[Call], small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("watch", "a.mp4", "b.mp4", "--camera", "x", "--camera", "y", "--scores", tmp_path / "s.csv", "--bundle", small)
    _, request, _, _ = calls[0]
    assert (request.sources, request.names, request.scores) == (("a.mp4", "b.mp4"), ["x", "y"], tmp_path / "s.csv")
    assert settings_of(calls[0]).worker.bundle == small


def test_watch_without_names_or_table(calls: list[Call], small: Path) -> None:
    call("watch", "a.mp4", "--bundle", small)
    assert (tuple(calls[0][1].names), calls[0][1].scores) == ((), None)


def test_watch_keeps_media_where_and_as_long_as_is_said(calls: list[Call], small: Path) -> None:
    call("watch", "a.mp4", "--bundle", small)
    call("watch", "a.mp4", "--bundle", small, "--clips", "s3://yard/x", "--keep", "2d")
    without, given = (called[1] for called in calls)
    assert without.clips is None
    assert (given.clips, given.retention.keep) == ("s3://yard/x", timedelta(days=2))


@pytest.mark.parametrize("process", ["all", "producer", "worker", "coordinator"])
def test_the_doctor_is_told_for_which_process_and_camera(calls: list[Call], process: str) -> None:
    call("doctor", "-p", process, "--source", "film.mp4")
    call("doctor", "--process", process)
    assert [given[1:] for given in calls] == [(process, "film.mp4"), (process, None)]


def demo_calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    from engram.demo import stack_run

    made: list[Call] = []

    def note(*given: object) -> tuple[Check, ...]:
        made.append(given)
        return (Check("all is well", True, "0 of 3"),)

    monkeypatch.setattr(stack_run, "run_stack_demo", note)
    return made


def test_the_stack_demo_is_given_what_is_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: Path) -> None:
    made = demo_calls(monkeypatch)
    call("stack", "demo", "--seconds", 12, "--deadline-s", 40, "--out", tmp_path, "--bundle", small)
    call("stack", "demo")
    (chosen, _), (plain, _) = made
    assert (chosen.seconds, chosen.deadline_s, chosen.out, chosen.bundle) == (12, 40, tmp_path, small)
    assert (plain.seconds, plain.out, plain.bundle) == (30, Path("out/stack-demo"), shipped_bundle(WALKWAY))
    assert plain.deadline_s > 2 * plain.seconds


def test_settings_of_watch_can_all_be_masked_from_the_command_line(calls: list[Call], small: Path) -> None:
    """A later source wins: flags over the environment."""
    environment: Mapping[str, str] = {"ENGRAM_PRODUCER__FPS": "3", "ENGRAM_MEMORY__UPDATES": "false"}
    call("watch", "a.mp4", "--bundle", small, "--fps", "6", "--updates", **environment)
    call("watch", "a.mp4", "--bundle", small, **environment)
    assert [(one.producer.fps, one.memory.updates) for one in map(settings_of, calls)] == [(6.0, True), (3.0, False)]
