"""Children of the stack demo: real processes."""

from pathlib import Path

import pytest

from engram.demo.fleet import Fleet
from schemas.errors import EngramError


def test_a_child_gets_its_environment_and_its_log(tmp_path: Path) -> None:
    with Fleet(tmp_path / "logs", {"ENGRAM_KAFKA__CLIENT_ID": "from-the-fleet"}) as fleet:
        fleet.start("shower", ["config", "show", "-o", "json"])
        assert fleet.end(["shower"])["shower"] in (0, -15)
        fleet.start("again", ["config", "show", "-o", "json"])
        assert fleet.wait("again", 60) == 0
    assert "from-the-fleet" in (tmp_path / "logs" / "again.log").read_text("utf-8")


def test_a_child_that_ended_by_itself_is_told_with_its_log(tmp_path: Path) -> None:
    with Fleet(tmp_path, {"ENGRAM_KAFKA__NONSENSE": "1"}) as fleet:
        fleet.start("wrong", ["config", "check"])
        assert fleet.wait("wrong", 60) == 2
        with pytest.raises(EngramError, match=r"(?s)wrong must run, it has ended with 2;.*NONSENSE is no setting"):
            fleet.require_running(["wrong"])


def test_a_child_that_does_not_end_is_told(tmp_path: Path) -> None:
    with Fleet(tmp_path, {}) as fleet:
        fleet.start("slow", ["config", "show"])
        with pytest.raises(EngramError, match="slow must end within 0 s"):
            fleet.wait("slow", 0.0)


def test_no_child_outlives_the_fleet(tmp_path: Path) -> None:
    with Fleet(tmp_path, {}) as fleet:
        fleet.start("killed", ["config", "show"])
        fleet.kill("killed")
        assert fleet.exit_code("killed") is not None
        fleet.start("left", ["config", "show"])
    assert fleet.exit_code("left") is not None


def test_waiting_for_words_ends_when_they_are_said_or_the_child_has_ended(tmp_path: Path) -> None:
    with Fleet(tmp_path, {}) as fleet:
        fleet.start("talks", ["config", "show"])
        fleet.wait("talks", 60)
        fleet.wait_until_logged(["talks"], "kafka", 1.0)
        with pytest.raises(EngramError, match="talks must run, it has ended with 0"):
            fleet.wait_until_logged(["talks"], "words it never says", 1.0)
