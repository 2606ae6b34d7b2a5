"""What a process says of itself at each address."""

import json
import logging
from collections.abc import Iterable, Mapping
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from engram.logs import PROBLEMS
from engram.observe.desk import KEPT_S, Desk, open_desk
from engram.observe.families import Family
from engram.observe.observed import STUCK_S, stuck_for
from engram.observe.server import Page, Request
from schemas.errors import SettingsError
from schemas.settings.connections import HttpSection

SAID = Family("counter", "engram_words_total", "words said", ("who",))


class Part:
    """A part whose troubles and counters are what the test says."""

    name = "part"

    def __init__(self) -> None:
        self.words = 3
        self.stuck_by: tuple[str, ...] = ()
        self.waits_for: tuple[str, ...] = ()
        self.num_asked = 0

    def metrics(self) -> Iterable[Metric]:
        self.num_asked += 1
        return (SAID.each({"me": self.words}),)

    def status(self) -> Mapping[str, object]:
        return {"words": self.words}

    def stuck(self) -> tuple[str, ...]:
        return self.stuck_by

    def unready(self) -> tuple[str, ...]:
        return self.waits_for

    def totals(self) -> Mapping[str, int]:
        return {"words": self.words}


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def part() -> Part:
    return Part()


@pytest.fixture
def desk(clock: Clock, part: Part) -> Desk:
    made = Desk("work", clock)
    made.show(part)
    return made


def ask(desk: Desk, path: str, accept: str = "") -> Page:
    return desk.answer(Request(path, accept))


def samples(page: Page) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.body.decode())
        for sample in family.samples
    }


def test_a_process_that_starts_is_alive_and_not_ready(clock: Clock) -> None:
    desk = Desk("work", clock)
    desk.wait_for("the network must load")
    assert ask(desk, "/healthz").status == 200
    page = ask(desk, "/readyz")
    assert (page.status, page.body) == (503, b"work: the network must load\n")
    assert samples(ask(desk, "/metrics"))["engram_ready",] == 0


def test_what_waiting_heals_makes_it_not_ready_but_alive(desk: Desk, part: Part) -> None:
    part.waits_for = ("no partition", "no store")
    assert ask(desk, "/healthz").body == b"ok\n"
    assert (ask(desk, "/readyz").status, ask(desk, "/readyz").body) == (503, b"no partition\nno store\n")


def test_a_loop_that_does_not_turn_is_neither_alive_nor_ready(desk: Desk, part: Part) -> None:
    part.stuck_by = ("it hangs",)
    assert [ask(desk, path).status for path in ("/healthz", "/readyz")] == [503, 503]
    assert ask(desk, "/healthz").body == b"it hangs\n"


def test_metrics_are_those_of_the_parts_and_of_the_process(desk: Desk) -> None:
    found = samples(ask(desk, "/metrics"))
    assert found["engram_words_total", "me"] == 3
    assert found["engram_ready",] == 1
    assert any(key[0] == "process_resident_memory_bytes" for key in found)
    assert [key for key in found if key[0] == "engram_build_info"]


def test_metrics_come_in_the_format_that_is_asked_for(desk: Desk) -> None:
    plain = ask(desk, "/metrics")
    openmetrics = ask(desk, "/metrics", "application/openmetrics-text; version=1.0.0")
    assert plain.content_type.startswith("text/plain; version=0.0.4")
    assert openmetrics.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.body.endswith(b"# EOF\n")


def test_many_who_ask_at_once_cost_one_look(desk: Desk, part: Part, clock: Clock) -> None:
    assert len({id(ask(desk, "/metrics")) for _ in range(50)}) == 1
    assert part.num_asked == 1
    clock.now_s += KEPT_S
    part.words = 4
    assert samples(ask(desk, "/metrics"))["engram_words_total", "me"] == 4
    assert part.num_asked == 2


def test_the_status_tells_rates_troubles_and_the_last_problem(desk: Desk, part: Part, clock: Clock) -> None:
    logger = logging.getLogger("engram.test")
    PROBLEMS.handle(logger.makeRecord(logger.name, logging.ERROR, "", 0, "it broke %d times", (2,), None))
    desk.look()
    clock.now_s, part.words, part.waits_for = 110.0, 28, ("no store",)
    told = json.loads(ask(desk, "/status").body)
    assert told["part"] == {"words": 28, "per_s": {"words": 2.5}}
    assert (told["process"], told["alive"], told["ready"], told["troubles"]) == ("work", True, False, ["no store"])
    assert told["uptime_s"] == 10.0
    assert (told["last_problem"]["level"], told["last_problem"]["message"]) == ("error", "it broke 2 times")
    assert samples(ask(desk, "/metrics"))["engram_log_problems_total", "error"] >= 1


def test_an_unknown_page_names_those_there_are(desk: Desk) -> None:
    page = ask(desk, "/")
    assert page.status == 404
    assert page.body == b"here are /metrics, /healthz, /readyz, /status\n"


def test_a_loop_is_stuck_beyond_the_longest_wait_only() -> None:
    assert stuck_for("the loop", 10.0, 10.0 + STUCK_S) == ()
    assert stuck_for("the loop", 10.0, 11.0 + STUCK_S) == (f"the loop has not come round for {STUCK_S + 1:.0f} s",)


def test_without_an_address_nothing_listens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with open_desk(HttpSection(), "work") as desk:
        assert isinstance(desk, Desk)
    assert caplog.text == ""


def test_where_it_listens_is_told_and_free_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with open_desk(HttpSection(listen="0"), "work"):
        address = caplog.text.rpartition("metrics and health on ")[2].strip()
        with pytest.raises(HTTPError, match="503"), urlopen(f"{address}/readyz", timeout=60):
            pass
    with pytest.raises(URLError), urlopen(f"{address}/readyz", timeout=60):
        pass


def test_an_address_that_cannot_be_had_ends_the_start() -> None:
    with (
        open_desk(HttpSection(listen="127.0.0.1:0"), "work"),
        pytest.raises(SettingsError, match="must be a free address"),
        open_desk(HttpSection(listen="203.0.113.1:1"), "work"),
    ):
        pass
