"""What a process shows agrees with what it has done: real parts on a log in memory, asked over real HTTP."""

import json
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bundles.bundle import save_bundle
from engram.build.adapters import open_store
from engram.build.bundles import load_engine
from engram.build.cameras import camera_feeds
from engram.observe import coordinator, desk, producer, worker
from engram.observe.desk import Desk
from engram.observe.server import PageServer
from engram.run.embedded import Embedded, Outcome
from schemas.messages import AnomalyEvent, FrameScore
from schemas.settings import WatchSettings, load_settings
from tests.small_bundle import small_bundle

DEADLINE_S = 60.0
Samples = dict[tuple[str, ...], float]


class Watch:
    """Two cameras watched to their end, and all that was to be seen then."""

    def __init__(self, folder: Path) -> None:
        save_bundle(folder / "bundle", small_bundle(gate_threshold=1e9))
        given = {
            "worker.bundle": folder / "bundle",
            "worker.threads": 1,
            "producer.pace": "backfill",
            "store.url": f"sqlite:///{folder}/banks.db",
            "coordinator.round_s": 0,
            "events.enter": 0.0,
            "events.exit": 0.0,
        }
        chosen = load_settings(WatchSettings, None, given)
        self.scores: list[FrameScore] = []
        self.events: list[AnomalyEvent] = []
        feeds = camera_feeds(["synthetic://walkway?seed=1&seconds=3"] * 2, ["a", "b"], chosen.producer)
        shown = Desk("watch")
        server = PageServer(("127.0.0.1", 0), shown.answer, shown.look)
        server.start()
        with open_store(chosen.store) as store, closing(server):
            embedded = Embedded(chosen, load_engine(chosen.worker), store, feeds, self)
            self.early = read(server, "/readyz", 503)
            shown.show(*embedded.seen())
            self.outcome: Outcome = embedded.run(threading.Event())
            self.samples, self.families = parsed(read(server, "/metrics"))
            self.status = json.loads(read(server, "/status"))
            self.health = read(server, "/healthz")

    def on_scores(self, scores: Sequence[FrameScore]) -> None:
        self.scores.extend(scores)

    def on_event(self, event: AnomalyEvent) -> None:
        self.events.append(event)


def read(server: PageServer, path: str, status: int = 200) -> str:
    connection = HTTPConnection(*server.address, timeout=DEADLINE_S)
    with closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == status
        return answer.read().decode()


def parsed(text: str) -> tuple[Samples, set[str]]:
    families = list(text_string_to_metric_families(text))
    samples = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
    names = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    return samples, names


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    return Watch(tmp_path_factory.mktemp("watched"))


def test_before_its_parts_are_made_it_is_not_ready(watched: Watch) -> None:
    assert watched.early == "watch: its parts are being made\n"
    assert watched.health == "ok\n"


def test_every_family_that_is_listed_is_given_out(watched: Watch) -> None:
    listed = {family.name for module in (desk, producer, worker, coordinator) for family in module.FAMILIES}
    assert {name for name in watched.families if name.startswith("engram_")} == listed


def test_the_producer_accounts_for_every_frame(watched: Watch) -> None:
    for camera in "ab":
        captured, sent, in_flight, sampled_out = (
            watched.samples[f"engram_producer_frames_{name}", camera]
            for name in ("captured_total", "sent_total", "in_flight", "sampled_out_total")
        )
        dropped = sum(
            value
            for name, value in watched.samples.items()
            if name[:2] == ("engram_producer_frames_dropped_total", camera)
        )
        assert captured == sent + in_flight + sampled_out + dropped
    assert sum(watched.samples["engram_producer_frames_sent_total", camera] for camera in "ab") == watched.outcome.sent


def test_the_worker_agrees_with_what_lies_on_the_topics(watched: Watch) -> None:
    by_status = Counter(score.status for score in watched.scores)
    assert watched.samples["engram_worker_frames_scored_total",] == by_status["scored"] == 52
    assert watched.samples["engram_worker_frames_warming_total",] == by_status["warming"] == 8
    assert watched.samples["engram_worker_records_received_total",] == 62
    assert watched.samples["engram_worker_session_ends_total",] == 2
    phases = Counter(event.data.phase for event in watched.events)
    assert phases["start"] > 0
    for phase in ("start", "update", "end"):
        assert watched.samples["engram_worker_event_messages_total", phase] == phases[phase]


def test_the_histograms_count_what_was_computed_and_scored(watched: Watch) -> None:
    assert watched.samples["engram_worker_capture_to_score_seconds_count",] == 52
    assert watched.samples["engram_worker_batch_frames_sum",] == 52
    assert watched.samples["engram_worker_network_seconds_sum",] > 0
    batches = watched.samples["engram_worker_batch_frames_count",]
    assert watched.samples["engram_worker_network_seconds_count",] == batches <= 52


def test_nothing_waits_in_the_end(watched: Watch) -> None:
    for name in ("engram_worker_lag_records", "engram_worker_lag_seconds", "engram_producer_camera_up"):
        assert all(value == 0 for key, value in watched.samples.items() if key[0] == name)
    assert watched.samples["engram_producer_log_up",] == 1


def test_the_coordinator_accounts_for_every_proposal(watched: Watch) -> None:
    counts = {
        name: watched.samples[f"engram_coordinator_proposals_{name}",]
        for name in ("received_total", "committed_total", "returned_total", "held")
    }
    rejected = sum(
        value for key, value in watched.samples.items() if key[0] == "engram_coordinator_proposals_rejected_total"
    )
    assert counts["received_total"] == counts["committed_total"] + counts["returned_total"] + counts["held"] + rejected


def test_the_status_says_the_same_to_people(watched: Watch) -> None:
    told = watched.status
    assert set(told) >= {"process", "version", "alive", "ready", "last_problem", "producer", "worker", "coordinator"}
    assert told["worker"]["counts"]["scored"] == 52
    assert told["worker"]["capture_to_score_s"]["count"] == 52
    assert set(told["worker"]["capture_to_score_s"]["bins"].values()) >= {0}
    assert told["worker"]["backend"] == "torch"
    assert set(told["worker"]["banks"]) == {"shared"}
    assert {name: camera["scored"] for name, camera in told["worker"]["cameras"].items()} == {"a": 26, "b": 26}
    assert told["producer"]["cameras"]["a"]["sent"] + told["producer"]["cameras"]["b"]["sent"] == watched.outcome.sent
