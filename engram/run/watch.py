"""What ``engram watch`` does: sources through the whole of Engram in this process, events and scores out."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_data_path

from bundles.bundle import load_bundle
from consumers.media.clipper import ClipOptions
from consumers.media.store import Retention
from consumers.score_table import ScoreTable
from engram.build.adapters import open_store
from engram.build.bundles import bundle_folder, load_engine, warn_of_thin_evidence
from engram.build.cameras import camera_plans
from engram.build.edge import report_options
from engram.build.paths import data_file
from engram.observe.desk import open_desk
from engram.observe.tracing import open_tracing
from engram.run.clips import WatchedClips, media_store
from engram.run.embedded import Embedded, Outcome
from engram.run.reload import Reload, reloading
from engram.run.roster import Roster
from memory_store.store import BankStore
from schemas.messages import AnomalyEvent, FrameScore
from schemas.settings import Loaded, WatchSettings
from schemas.settings.detection import host_and_pid
from schemas.settings.layers import Given
from schemas.topics import TopicNames


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """What is watched and who is told.

    Attributes:
        sources: addresses; none = the cameras of the settings.
        names: of the cameras, as for ``camera_plans``.
        scores: CSV file to write, if any.
        tell_event: called with each event message.
        clips: folder or bucket for pictures and clips of events, if any.
        retention: of it.
        tell_console: called with the address of the operator's page; None = there is none.
    """

    sources: Sequence[str]
    names: Sequence[str]
    scores: Path | None
    tell_event: Callable[[AnomalyEvent], None]
    clips: str | None = None
    retention: Retention = field(default_factory=Retention)
    tell_console: Callable[[str], None] | None = None


def watch_defaults(
    loaded: Loaded[WatchSettings], sources: Sequence[str], names: Sequence[str] = ()
) -> dict[str, object]:
    """Values for settings nobody has given, which depend on what is watched.

    The rate is the one the bundle was trained at; recordings are taken frame by frame, as fast as may be; and each
    bundle has a store of its own, because a bank fits one bundle only.
    """
    manifest_of = load_bundle(bundle_folder(loaded.settings.worker.bundle))
    recorded = all(plan.is_recorded for plan in camera_plans(loaded, sources, names))
    store = user_data_path("engram") / f"watch-{manifest_of.digest[:12]}.db"
    wanted: dict[str, object] = {
        "producer.fps": manifest_of.manifest.fps,
        "producer.pace": "backfill" if recorded else "live",
        "store.url": f"sqlite:///{store}",
    }
    return {path: Given(value, "watch") for path, value in wanted.items() if loaded.origins[path] == "default"}


def run_watch(
    loaded: Loaded[WatchSettings],
    request: WatchRequest,
    stop: threading.Event,
    reload: Reload[WatchSettings] | None = None,
) -> Outcome:
    """Watch until the sources end or ``stop`` is set; ``reload`` says how the settings are read again, if they are.

    Raises:
        FatalError: settings, bundle, store or a source are beyond repair.
        EngramError: a part failed.
    """
    settings = loaded.settings
    topics = TopicNames.with_prefix(settings.kafka.topic_prefix)
    plans = camera_plans(loaded, request.sources, request.names)
    roster = Roster(plans)
    feeds = roster.first_feeds()
    with ExitStack() as opened:
        desk = opened.enter_context(open_desk(settings.http, "watch"))
        store = opened.enter_context(open_store(settings.store, settings.coordinator.history))
        table = None if request.scores is None else opened.enter_context(ScoreTable(request.scores))
        engine = load_engine(settings.worker)
        warn_of_thin_evidence(settings.events, engine.bundle.calibration)
        reports = None if request.tell_console is None else report_options(settings.producer, topics)
        listener, clips = _Listener(table, request.tell_event), _clips(settings, request)
        in_step = all(plan.is_recorded for plan in plans)
        tracer = opened.enter_context(open_tracing(settings.tracing, "engram-watch", host_and_pid()))
        whole = Embedded(settings, engine, store, feeds, listener, roster, clips, reports, in_step, tracer)

        def change(anew: Loaded[WatchSettings]) -> None:
            roster.change(camera_plans(anew, request.sources, request.names))
            whole.change_events(anew.settings)

        desk.show(*whole.seen())
        opened.enter_context(reloading(settings, reload, change))
        if request.tell_console is not None:
            opened.enter_context(_console(settings, request.clips, whole, store, request.tell_console))
        return whole.run(stop)


def _clips(settings: WatchSettings, request: WatchRequest) -> WatchedClips | None:
    if request.clips is None:
        return None
    topic = TopicNames.with_prefix(settings.kafka.topic_prefix).event_media
    return WatchedClips(media_store(request.clips), ClipOptions(topic, retention=request.retention))


@contextmanager
def _console(
    settings: WatchSettings, clips: str | None, whole: Embedded, store: BankStore, tell: Callable[[str], None]
) -> Iterator[None]:
    """The operator's page over what runs here."""
    from engram.run.console import WATCH_FILE, Console  # noqa: PLC0415 - needs an extra

    path = settings.console.file or data_file(WATCH_FILE)
    if settings.console.media is None:
        section = settings.console.model_copy(update={"media": clips})
        settings = settings.model_copy(update={"console": section})
    with closing(Console(settings, path, whole.bus, store)) as console, console.pages(whole.pipes, tell):
        whole.stay_for(console.run)
        yield


@dataclass(frozen=True, slots=True)
class _Listener:
    """Scores to the table, events to whoever wants them."""

    table: ScoreTable | None
    tell_event: Callable[[AnomalyEvent], None]

    def on_scores(self, scores: Sequence[FrameScore]) -> None:
        """See ``embedded.Listener``."""
        if self.table is not None:
            self.table.add(scores)

    def on_event(self, event: AnomalyEvent) -> None:
        """See ``embedded.Listener``."""
        self.tell_event(event)
