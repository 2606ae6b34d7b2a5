"""A fleet that is watched by all who watch one: cameras, workers, a coordinator, a console and Prometheus."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Literal

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from deploy.local.ports import free_port
from deploy.local.wait import wait_until
from engram.cli.app import app
from engram.demo.fleet import Fleet
from messaging.ports import Bus, OutRecord
from schemas.codec import encode_header
from schemas.messages import FrameHeader, utc_now
from schemas.settings.layers import as_environment
from tests.small_bundle import jpeg

ROOT = Path(__file__).parents[2]
WORKERS = ("worker-1", "worker-2", "worker-3")
CAMERAS = ("gate", "yard", "hall", "dock", "roof", "stairs", "lift", "ramp")
AWAY = "cellar"
"""A ninth camera, which nobody ever reaches; it keeps its producer waiting when the films of the others are over."""
SEEN = (*WORKERS, "coordinator", "cameras")
DEADLINE_S = 600.0
READ_S = 60.0


class Watched:
    """Made by ``watched_fleet``.

    Args:
        fleet: the processes.
        ports: of their metrics, by name.
        console: somebody who has logged in to the console.
        prometheus: where it answers; None = it is not installed.
        environment: settings of all processes.
    """

    def __init__(
        self,
        fleet: Fleet,
        ports: Mapping[str, int],
        console: httpx.Client,
        prometheus: str | None,
        environment: Mapping[str, str],
    ) -> None:
        self.fleet = fleet
        self.console = console
        self.prometheus = prometheus
        self._ports = ports
        self._environment = environment

    def page(self, process: str, path: str) -> str:
        """What a process answers."""
        return httpx.get(f"http://127.0.0.1:{self._ports[process]}{path}", timeout=READ_S).text

    def samples(self, process: str) -> dict[tuple[str, ...], float]:
        """Its metrics, by name without ``engram_`` and values of labels."""
        families = text_string_to_metric_families(self.page(process, "/metrics"))
        return {
            (one.name.removeprefix("engram_"), *one.labels.values()): one.value
            for family in families
            for one in family.samples
        }

    def total(self, *names: str) -> float:
        """The sum of all processes' series that begin with this name and these labels."""
        looks = [self.samples(process) for process in SEEN]
        return sum(value for look in looks for key, value in look.items() if key[: len(names)] == names)

    def status(self) -> dict[str, dict[str, dict[str, object]]]:
        """As ``engram status -o json`` tells it."""
        done = CliRunner(env=dict(self._environment)).invoke(app, ["status", "-o", "json"])
        assert done.exit_code == 0, done.output
        found: dict[str, dict[str, dict[str, object]]] = json.loads(done.stdout.splitlines()[-1])
        return found

    def asked(self, query: str) -> float | None:
        """What Prometheus answers, if it has one number."""
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": query}, timeout=READ_S).json()
        found = answer["data"]["result"]
        return float(found[0]["value"][1]) if len(found) == 1 else None


def until(condition: Callable[[], object], what: str) -> None:
    """Wait, with a deadline."""
    assert wait_until(lambda: bool(condition()), DEADLINE_S), what


@contextmanager
def watched_fleet(settings: Mapping[str, object], folder: Path, seconds: float) -> Iterator[Watched]:
    """All of it at work; the cameras show ``seconds`` of film each as if they were live."""
    environment = {as_environment(path): str(value) for path, value in settings.items()}
    ports = {name: free_port() for name in (*SEEN, "console", "prometheus", "nobody")}
    with ExitStack() as opened:
        fleet = opened.enter_context(Fleet(folder, environment))

        def start(name: str, *words: str) -> None:
            fleet.start(name, [*words, "--http", str(ports[name])])

        start("coordinator", "coordinate")
        for worker in WORKERS:
            start(worker, "work", "--worker-id", worker)
        fleet.start("console", ["console", "--listen", str(ports["console"]), "--file", str(folder / "console.db")])
        prometheus = opened.enter_context(_prometheus(folder, ports))
        fleet.wait_until_logged(WORKERS, "is ours", DEADLINE_S)
        films = [f"synthetic://walkway?seed={seed}&seconds={seconds:g}&fps=5" for seed, _ in enumerate(CAMERAS, 301)]
        names = [word for name in (*CAMERAS, AWAY) for word in ("--camera", name)]
        start("cameras", "produce", *films, f"http://127.0.0.1:{ports['nobody']}/video", *names, "--pace", "live")
        fleet.wait_until_logged(SEEN, "metrics and health on", DEADLINE_S)
        yield Watched(fleet, ports, opened.enter_context(_visitor(fleet)), prometheus, environment)


@contextmanager
def _visitor(fleet: Fleet) -> Iterator[httpx.Client]:
    fleet.wait_until_logged(["console"], "/login?token=", DEADLINE_S)
    link = re.search(r"http://\S+/login\?token=\S+", fleet.log_path("console").read_text())
    assert link
    base = link[0].partition("/login")[0]
    with httpx.Client(base_url=base, follow_redirects=True, timeout=READ_S) as client:
        assert client.get(link[0]).status_code == 200
        yield client


@contextmanager
def _prometheus(folder: Path, ports: Mapping[str, int]) -> Iterator[str | None]:
    """With the settings that are shipped, but for where the processes are."""
    program = shutil.which("prometheus")
    if program is None:
        yield None
        return
    shipped = yaml.safe_load((ROOT / "deploy" / "compose" / "prometheus.yaml").read_text())
    (job,) = shipped["scrape_configs"]
    targets = [f"127.0.0.1:{ports[name]}" for name in SEEN]
    config = {
        "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
        "rule_files": [str(ROOT / "deploy" / "grafana" / "alerts.yaml")],
        "scrape_configs": [{"job_name": job["job_name"], "static_configs": [{"targets": targets}]}],
    }
    (folder / "prometheus.yaml").write_text(json.dumps(config))
    address = f"127.0.0.1:{ports['prometheus']}"
    words = [f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/prometheus"]
    with (folder / "prometheus.log").open("wb") as log:
        child = subprocess.Popen([program, *words, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        yield f"http://{address}"
    finally:
        child.terminate()
        child.wait(READ_S)


class Flood:
    """A camera that sends more than its worker can do, for as long as ``more`` is called.

    Args:
        bus: where it sends.
        topic: of frames.
    """

    name = "flood"

    def __init__(self, bus: Bus, topic: str) -> None:
        self.num_sent = 0
        self._publisher = bus.publisher()
        self._topic = topic
        self._chunk = 50
        self._began_at = utc_now() - timedelta(hours=1)
        self._pictures = [jpeg(self.name, index) for index in range(20)]

    def more(self) -> None:
        """Twice as many as the last time."""
        for _ in range(self._chunk):
            value = self._pictures[self.num_sent % len(self._pictures)]
            self._publisher.publish(OutRecord(self._topic, self.name, value, encode_header(self._header("frame"))))
            self.num_sent += 1
        self._chunk = min(2 * self._chunk, 3200)
        assert self._publisher.flush(DEADLINE_S)

    def end(self) -> None:
        """Its session is over."""
        end = self._header("end_of_session").model_copy(update={"width": 0, "height": 0})
        self._publisher.publish(OutRecord(self._topic, self.name, b"", encode_header(end)))
        self._publisher.close(DEADLINE_S)

    def _header(self, kind: Literal["frame", "end_of_session"]) -> FrameHeader:
        return FrameHeader(
            camera_id=self.name,
            session_id="s1",
            frame_index=self.num_sent,
            captured_at=self._began_at + timedelta(seconds=self.num_sent / 10),
            clock="media",
            width=64,
            height=48,
            fps=10,
            kind=kind,
        )
