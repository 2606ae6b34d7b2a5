"""What ``engram console`` does: topics onto a board, the board as pages, verdicts into the log; until told to stop."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from console.access import Access, Grant, new_token, read_grants
from console.board import Board, Bounds
from console.keep import Keep
from console.media import MediaFolder, MediaPlace
from console.memory import MemoryDesk
from console.plumbing import Plumbing
from console.reading import Pulse, Reading
from console.saying import Sayer
from console.serving import Serving
from console.web.app import make_app
from console.web.site import Health, Parts, Place
from console.web.stream import Streams
from consumers.media.store import is_bucket
from engram.build.adapters import open_bus, open_store
from engram.build.paths import data_file
from engram.observe.consumer import Follower, SeenConsumer
from engram.observe.desk import open_desk
from engram.observe.fleet_pipes import FleetPipes
from engram.observe.server import bound
from engram.run.process import Crew, connected
from memory_store.store import BankStore
from messaging.ports import Bus
from schemas.addresses import HostPort, listen_address, shown_host_port
from schemas.errors import SettingsError
from schemas.messages import utc_now
from schemas.settings import ConsoleSettings, WatchSettings
from schemas.settings.connections import ConsoleSection
from schemas.topics import TopicNames

if TYPE_CHECKING:
    from consumers.media.s3 import S3Store

log = logging.getLogger(__name__)

LINK_S = 3600
"""So long a signed link holds."""
FILE, WATCH_FILE = "console.db", "watch-console.db"
LOOK_S = 0.5
END_S = 10.0
EVERY_VERSION = 10**9
"""Versions that a store keeps when an operator writes: the coordinator alone drops old ones."""
WAITING = "the log has not answered yet"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Doors:
    """Who may come in.

    Attributes:
        grants: all of them.
        token: made for this run, where none was given; None = none was made.
    """

    grants: Sequence[Grant]
    token: str | None


def doors_of(section: ConsoleSection, address: HostPort) -> Doors:
    """The tokens that were given; on this machine alone one is made where there is none.

    Raises:
        SettingsError: no token, and others can reach the address; or what was given cannot be read.
    """
    grants: list[Grant] = []
    if section.token_file is not None:
        try:
            text = section.token_file.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"console.token_file must be a readable text file, got {section.token_file}") from error
        grants += read_grants(text, str(section.token_file))
    if section.tokens is not None:
        grants += read_grants(section.tokens.get_secret_value(), "console.tokens")
    if grants:
        return Doors(tuple(grants), None)
    if section.token_file is not None or section.tokens is not None or not _is_loopback(address):
        text = f"a console that others can reach ({shown_host_port(address)}) must have tokens, it has none"
        raise SettingsError(f"{text}: engram console --make-token NAME --token-file FILE")
    token, grant = new_token("operator", "operate")
    return Doors((grant,), token)


def _is_loopback(address: HostPort) -> bool:
    try:
        return ip_address(address[0]).is_loopback
    except ValueError:
        return address[0] == "localhost"


class MediaBucket:
    """What ``engram clips s3://…`` writes; see ``console.media.MediaPlace``.

    Args:
        store: the bucket, which signs links.
    """

    def __init__(self, store: "S3Store") -> None:
        self._store = store

    def file(self, name: str) -> Path | None:  # noqa: ARG002 - nothing of it is on this machine
        """See ``MediaPlace``."""
        return None

    def link(self, name: str) -> str | None:
        """See ``MediaPlace``."""
        return self._store.link(name, LINK_S)


def media_place(place: str, endpoint_url: str | None) -> MediaPlace:
    """Where media are to be found.

    Raises:
        SettingsError: see ``is_bucket``, or an address that names no bucket.
        FatalError: the bucket's library or credentials are missing.
    """
    if not is_bucket(place, endpoint_url):
        return MediaFolder(Path(place))
    from consumers.media.s3 import bucket_at  # noqa: PLC0415 - needs an extra

    return MediaBucket(bucket_at(place, endpoint_url))


class Console:
    """The board of one bus, its file and its reader; pages are opened over it.

    Args:
        settings: of the console.
        path: its file.
        group: beginning of its group's name.
        bus: where topics are.
        store: of the banks; None = it has none.
    """

    def __init__(
        self,
        settings: ConsoleSettings | WatchSettings,
        path: Path | None,
        bus: Bus,
        store: BankStore | None,
    ) -> None:
        section = settings.console
        self._section = section
        self._bus = bus
        self._keep = Keep(path)
        topics = TopicNames.with_prefix(settings.kafka.topic_prefix)
        wanted = settings.events.target_false_alarms_per_day
        self.board = Board(Bounds(section.max_events, section.max_bytes, settings.memory.learn_s, wanted))
        group = f"{settings.kafka.topic_prefix}engram-console"
        self.reading = Reading(bus, topics, self.board, self._keep, group)
        self._say = Sayer(topics.operator_verdicts)
        self._pulse = Pulse(bus.existing_topics)
        self._memory = None if store is None else MemoryDesk(store, utc_now)
        self._media = None if section.media is None else media_place(section.media, section.media_endpoint)
        self._is_connected = False

    def run(self, stop: threading.Event) -> None:
        """Read until ``stop`` is set; a log that is away is waited for.

        Raises:
            FatalError: the log refuses us, or a topic is missing.
        """
        if connected(self._connect, stop) is not None:
            self._is_connected = True
            self._pulse.look()
            self._pulse.start()
            self.reading.run(stop)

    def health(self) -> Health:
        """How old what is shown may be."""
        if not self._is_connected:
            return Health(self._pulse.silent_s(), 0.0, 0, WAITING)
        return Health(self._pulse.silent_s(), self.reading.silent_s(), self.reading.lag(), self.reading.trouble)

    def follower(self) -> Follower:
        """How its reader fares; from any thread."""
        reading, tally = self.reading, self.reading.tally
        return Follower(
            reading.group,
            tally.received + tally.passed_over,
            {**dict(list(tally.bad.items())), "passed_over": tally.passed_over},
            {"shown": tally.taken},
            reading.turned_at_s,
            reading.lag(),
            reading.num_partitions(),
            trouble=reading.trouble if self._is_connected else WAITING,
        )

    @contextmanager
    def pages(self, plumbing: Callable[[], Plumbing], tell: Tell) -> Iterator[Serving]:
        """Show it; ``tell`` gets the address, once, with a token where one was made for this run.

        Raises:
            SettingsError: the address cannot be had, or there is no token.
        """
        section = self._section
        address = listen_address(section.listen)
        doors = doors_of(section, address)
        listening = bound(address, "console.listen (--listen)")
        place = Place(section.base_path, doors.token is not None, section.grafana)
        parts = Parts(self.board, Access(doors.grants), self._say, self.health, plumbing, self._memory, self._media)
        streams = Streams()
        files = section.ssl_certfile, section.ssl_keyfile
        serving = Serving(make_app(parts, place, streams), listening, streams, section.proxies, *files)
        serving.start()
        scheme = "http" if section.ssl_certfile is None else "https"
        shown = shown_host_port((address[0], listening.getsockname()[1]))
        link = "" if doors.token is None else f"/login?token={quote(doors.token)}"
        tell(f"{scheme}://{shown}{section.base_path}{link or '/'}")
        try:
            yield serving
        finally:
            serving.close()

    def close(self) -> None:
        """Release the file."""
        self._pulse.end()
        self._keep.close()

    def _connect(self) -> bool:
        self._bus.existing_topics()
        self._say.open(self._bus.publisher())
        self.reading.open()
        return True


def run_console(settings: ConsoleSettings, has_store: bool, stop: threading.Event, tell: Tell) -> None:
    """Show the fleet until ``stop`` is set.

    Args:
        settings: of the console.
        has_store: whether somebody said where the banks are.
        stop: asks for the end.
        tell: gets the address.

    Raises:
        SettingsError: see ``Console.pages``.
        FatalError: see ``Console.run``, or the file is no console's.
    """
    with ExitStack() as opened:
        desk = opened.enter_context(open_desk(settings.http, "console"))
        bus = opened.enter_context(open_bus(settings.kafka))
        store = opened.enter_context(open_store(settings.store, EVERY_VERSION)) if has_store else None
        path = settings.console.file or data_file(FILE)
        console = opened.enter_context(closing(Console(settings, path, bus, store)))
        pipes = opened.enter_context(closing(FleetPipes(settings.kafka, console.board, console.reading.tally)))
        desk.show(SeenConsumer("console", lambda: [console.follower()]))
        serving = opened.enter_context(console.pages(pipes, tell))
        crew = Crew()
        ending = threading.Event()
        crew.start("reader", lambda: console.run(ending))
        try:
            while not stop.wait(LOOK_S) and crew.is_running("reader") and serving.is_running:
                pass
        finally:
            ending.set()
            crew.join(END_S)
        crew.raise_error()
