"""Settings read again: when a file counts as saved, what is said, and that a broken file changes nothing."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engram.run.reload import FileWatch, Reload, Reloader, reloading
from schemas.settings import Loaded, ProducerSettings, load_with_origins


def until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it must hold by now")


def read(file: Path) -> Loaded[ProducerSettings]:
    return load_with_origins(ProducerSettings, file, {}, {})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "engram.toml"
    made.write_text("[producer]\nfps = 5\n")
    return made


def test_a_file_counts_as_saved_once_it_lies_still(file: Path) -> None:
    watch = FileWatch(file)
    assert [watch.was_saved() for _ in range(3)] == [False] * 3
    file.write_text("[producer]\nfps = 55\n")
    assert [watch.was_saved() for _ in range(3)] == [False, True, False]
    file.write_text("[producer]\n")
    assert not watch.was_saved()
    file.write_text("[producer]\nfps = 555\n")
    assert [watch.was_saved() for _ in range(3)] == [False, True, False], "it was still being written"


def test_a_file_that_is_replaced_or_briefly_away_is_seen(file: Path, tmp_path: Path) -> None:
    watch = FileWatch(file)
    file.unlink()
    assert [watch.was_saved() for _ in range(2)] == [False, False]
    (tmp_path / "new").write_text("[producer]\nfps = 6\n")
    (tmp_path / "new").rename(file)
    assert [watch.was_saved() for _ in range(3)] == [False, True, False]


def test_what_was_read_for_another_reason_is_not_read_again(file: Path) -> None:
    watch = FileWatch(file)
    file.write_text("[producer]\nfps = 55\n")
    watch.note()
    assert [watch.was_saved() for _ in range(2)] == [False, False]


def test_what_takes_effect_and_what_does_not_are_told(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    applied: list[Loaded[ProducerSettings]] = []
    reloader = Reloader(read(file).settings, lambda: read(file), applied.append)
    caplog.set_level("INFO")
    file.write_text("[producer]\nfps = 6\nmask = [[0, 0, 1, 0.5]]\n")
    assert reloader.reload("why")
    assert applied[0].settings.producer.fps == 6
    assert "why: now in force: producer.mask" in caplog.messages
    assert "these take effect at the next start only: producer.fps" in caplog.messages
    caplog.clear()
    assert reloader.reload("again")
    assert caplog.messages == ["again: nothing to take over"]


@pytest.mark.parametrize(
    "text", ["[producer\n", "[producer]\nfsp = 3\n", "[producer]\nfps = -3\n", f"a = {'[' * 5000}", None]
)
def test_a_broken_file_changes_nothing_and_says_why(
    file: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    applied: list[Loaded[ProducerSettings]] = []
    reloader = Reloader(read(file).settings, lambda: read(file), applied.append)
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    assert not reloader.reload("f was saved")
    assert applied == []
    assert caplog.messages[0].startswith("f was saved, and cannot be used, so that all stays as it was: ")
    file.write_text("[producer]\nfps = 5\nmask = [[0, 0, 1, 1]]\n")
    assert reloader.reload("f was saved")
    assert len(applied) == 1


def test_a_save_and_a_hangup_are_both_heard(file: Path) -> None:
    applied: list[Loaded[ProducerSettings]] = []
    before = signal.getsignal(signal.SIGHUP)
    with reloading(read(file).settings, Reload(file, lambda: read(file)), applied.append):
        on_hangup = signal.getsignal(signal.SIGHUP)
        assert callable(on_hangup)
        on_hangup(signal.SIGHUP, None)  # the signal itself goes to a process of its own, in tests/end_to_end
        until(lambda: len(applied) == 1)
        file.write_text("[producer]\nfps = 66\n")
        until(lambda: len(applied) == 2)
    assert applied[1].settings.producer.fps == 66
    assert signal.getsignal(signal.SIGHUP) == before
    assert not [thread for thread in threading.enumerate() if thread.name == "reload"]


@pytest.mark.parametrize("how", [None, Reload(None, lambda: load_with_origins(ProducerSettings, None, {}, {}))])
def test_without_a_file_a_hangup_is_left_alone(how: Reload[ProducerSettings] | None) -> None:
    before = signal.getsignal(signal.SIGHUP)
    with reloading(ProducerSettings(), how, lambda _: None):
        assert signal.getsignal(signal.SIGHUP) == before
