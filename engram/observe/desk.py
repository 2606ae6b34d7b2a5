"""The pages of one process: ``/metrics``, ``/healthz``, ``/readyz``, ``/status``.

* ``/healthz``: 200 while the process lives and its loops turn; a supervisor starts it again on 503.
* ``/readyz``: 200 while it can do its work: connected, assigned, store reachable; 503 says what is missing.
* ``/metrics``: for Prometheus; ``/status``: the same for people and scripts, as JSON.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from http import HTTPStatus

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from engram.logs import PROBLEMS
from engram.observe.families import Family
from engram.observe.observed import Observed, Starting
from engram.observe.rates import Rates
from engram.observe.server import JSON, Page, PageServer, Request
from engram.observe.supervisor import supervised
from schemas.addresses import shown_host_port
from schemas.settings.connections import HttpSection
from schemas.version import software_version

log = logging.getLogger(__name__)

KEPT_S = 0.25
"""So long an answer is given again: however many ask, the work is looked at four times a second at most."""

BUILD = Family("gauge", "engram_build_info", "1; says which software runs, as what", ("version", "process"))
READY = Family("gauge", "engram_ready", "whether the process can do its work, as /readyz has it")
PROBLEM_RECORDS = Family(
    "counter", "engram_log_problems_total", "lines of the log that told of a problem, by severity", ("level",)
)
FAMILIES = (BUILD, READY, PROBLEM_RECORDS)
LEVELS = ("warning", "error", "critical")


class Desk:
    """Answers for one process. What it shows may change while the process starts.

    Args:
        process: its name, as in the command line.
        clock: seconds that only grow.
    """

    def __init__(self, process: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._process = process
        self._clock = clock
        self._began_at_s = clock()
        self._started_at = datetime.now(timezone.utc)
        self._shown: tuple[Observed, ...] = (Starting(process, "its parts are being made"),)
        self._rates: dict[str, Rates] = {}
        self._kept: dict[Request, tuple[float, Page]] = {}
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._registry.register(self)
        self._pages: Mapping[str, Callable[[Request], Page]] = {
            "/metrics": self._metrics_page,
            "/healthz": lambda _: self._health(self._stuck()),
            "/readyz": lambda _: self._health((*self._stuck(), *self._unready())),
            "/status": lambda _: Page(json.dumps(self._status(), indent=1).encode(), JSON),
        }

    def show(self, *parts: Observed) -> None:
        """From now on it is about these parts."""
        self._shown = parts

    def wait_for(self, what: str) -> None:
        """From now on it says that the process waits for something before it can begin."""
        self._shown = (Starting(self._process, what),)

    def look(self) -> None:
        """Note the counters, for rates. In the thread that answers."""
        now_s = self._clock()
        for part in self._shown:
            self._rates.setdefault(part.name, Rates()).look(now_s, part.totals())

    def answer(self, request: Request) -> Page:
        """The page asked for, or the last one if that was a moment ago."""
        make = self._pages.get(request.path)
        if make is None:
            return Page.of_text(f"here are {', '.join(self._pages)}", HTTPStatus.NOT_FOUND)
        now_s = self._clock()
        self._kept = {asked: kept for asked, kept in self._kept.items() if now_s - kept[0] < KEPT_S}
        if request not in self._kept:
            self._kept[request] = (now_s, make(request))
        return self._kept[request][1]

    def collect(self) -> Iterator[Metric]:
        """For Prometheus' registry."""
        yield BUILD.each({(software_version(), self._process): 1})
        yield READY.one(not (self._stuck() or self._unready()))
        counts = PROBLEMS.counts()
        yield PROBLEM_RECORDS.each({level: counts.get(level, 0) for level in LEVELS})
        for part in self._shown:
            yield from part.metrics()

    def _metrics_page(self, request: Request) -> Page:
        encode, content_type = choose_encoder(request.accept)
        return Page(encode(self._registry), content_type)

    def _stuck(self) -> tuple[str, ...]:
        return tuple(reason for part in self._shown for reason in part.stuck())

    def _unready(self) -> tuple[str, ...]:
        return tuple(reason for part in self._shown for reason in part.unready())

    @staticmethod
    def _health(troubles: tuple[str, ...]) -> Page:
        return Page.of_text("\n".join(troubles), HTTPStatus.SERVICE_UNAVAILABLE) if troubles else Page.of_text("ok")

    def _status(self) -> dict[str, object]:
        now_s, problem = self._clock(), PROBLEMS.last()
        stuck, unready = self._stuck(), self._unready()
        told: dict[str, object] = {
            "process": self._process,
            "version": software_version(),
            "started_at": self._started_at.isoformat(timespec="seconds"),
            "uptime_s": round(now_s - self._began_at_s, 1),
            "alive": not stuck,
            "ready": not (stuck or unready),
            "troubles": [*stuck, *unready],
            "last_problem": None if problem is None else problem.as_json(),
        }
        for part in self._shown:
            rates = self._rates[part.name].per_s(now_s, part.totals()) if part.name in self._rates else {}
            told[part.name] = {**part.status(), "per_s": rates}
        return told


@contextmanager
def open_desk(http: HttpSection, process: str) -> Iterator[Desk]:
    """The desk of a process, asked over HTTP where the settings name an address; its supervisor is told, if it has one.

    Raises:
        SettingsError: the address cannot be had.
    """
    desk = Desk(process)
    with supervised(desk._stuck, desk._unready):
        if http.address is None:
            yield desk
            return
        server = PageServer(http.address, desk.answer, desk.look)
        log.info("metrics and health on http://%s", shown_host_port(server.address))
        server.start()
        try:
            yield desk
        finally:
            server.close()
