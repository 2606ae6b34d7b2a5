"""Real servers for tests, started when the first test asks for one and stopped at the end.

* ``kafka_bootstrap``, ``redis_url``: addresses of servers that all tests share. ENGRAM_TEST_KAFKA (``host:port``) and
  ENGRAM_TEST_REDIS (``redis://...``) name running ones to use instead.
* ``kafka_server``, ``redis_server``: the shared servers themselves, always started here.
* ``own_kafka``, ``own_redis``: for tests that kill, pause or restart. ``own_kafka`` is one broker per test module,
  ready again at the start of each test; ``own_redis`` and ``own_mosquitto`` are fresh for each test.
* ``fresh_name``: a new name at each call, for topics, groups, banks and key prefixes.

With pytest-xdist the processes share one Kafka, which takes more of a processor than many tests do; Redis takes next to
nothing, and each process has its own.
Where Java, Maven, redis-server or mosquitto is missing these tests skip; with REQUIRE_SERVICES=1 they fail.
"""

import fcntl
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from deploy.local import ports
from deploy.local.jars import kafka_jars
from deploy.local.kafka import KafkaSettings, LocalKafka
from deploy.local.process import birth_of
from deploy.local.redis import LocalRedis
from deploy.local.requirements import find_java, find_redis_server
from deploy.local.server import LocalServer
from schemas.errors import EngramError
from tests.mosquitto import LocalMosquitto, find_mosquitto

READY_TIMEOUT_S = 240.0
# A broker killed by a test is kept out for its session timeout when it returns, hence the short one.
TEST_SETTINGS = KafkaSettings(rebalance_delay_ms=0, session_timeout_ms=3000)
SHARED_HEAP_MB = 512
"""For the topics of all tests together."""


def give_up(reason: str) -> NoReturn:
    """Skip the test, or fail it where services are required."""
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(f"REQUIRE_SERVICES=1, but {reason}")
    pytest.skip(f"{reason} (`make setup` installs what is missing)")


@pytest.fixture(scope="session", autouse=True)
def _own_ports() -> Iterator[None]:
    """Ports that no process beside this one chooses: a port looks free to all until a server has started on it."""
    num_processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % num_processes
    share = (ports._HIGHEST - ports._LOWEST) // num_processes
    lowest = ports._LOWEST + number * share
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ports, "_LOWEST", lowest)
        patch.setattr(ports, "_HIGHEST", lowest + share)
        yield


@pytest.fixture(scope="session")
def kafka_requirements() -> Path:
    """The folder of Kafka's jars; skips where Java is missing or the jars cannot be had."""
    try:
        find_java()
        return kafka_jars()
    except EngramError as error:
        give_up(str(error))


@pytest.fixture(scope="session")
def redis_requirements() -> None:
    """Skips where redis-server is missing."""
    try:
        find_redis_server()
    except EngramError as error:
        give_up(str(error))


@pytest.fixture(scope="session")
def kafka_server(kafka_requirements: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """One broker for the whole run, whichever process tests; leave it as it was found."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kafka"
    server = LocalKafka(folder, kafka_requirements, replace(TEST_SETTINGS, heap_mb=SHARED_HEAP_MB))
    with shared(server):
        yield server


@pytest.fixture(scope="session")
def redis_server(redis_requirements: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRedis]:
    """One Redis for the whole run; leave it as it was found."""
    yield from running_redis(tmp_path_factory.mktemp("redis"))


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> str:
    """``host:port`` of a Kafka that all tests share."""
    named = os.environ.get("ENGRAM_TEST_KAFKA")
    server: LocalKafka | None = None if named else request.getfixturevalue("kafka_server")
    return named or (server.bootstrap_servers if server else "")


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """URL of a Redis that all tests share."""
    named = os.environ.get("ENGRAM_TEST_REDIS")
    server: LocalRedis | None = None if named else request.getfixturevalue("redis_server")
    return named or (server.url if server else "")


@pytest.fixture(scope="module")
def _module_kafka(kafka_requirements: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    yield from running_kafka(tmp_path_factory.mktemp("own-kafka"), kafka_requirements)


@pytest.fixture
def own_kafka(_module_kafka: LocalKafka) -> LocalKafka:
    """A broker that the test may kill, pause and restart; ready now whatever the test before did to it."""
    _module_kafka.resume()
    _module_kafka.start()
    _module_kafka.wait_ready(READY_TIMEOUT_S)
    return _module_kafka


@pytest.fixture
def own_redis(redis_requirements: None, tmp_path: Path) -> Iterator[LocalRedis]:
    """A Redis that the test may kill, pause and restart; empty at the start."""
    yield from running_redis(tmp_path / "own-redis")


@pytest.fixture
def own_mosquitto(tmp_path: Path) -> Iterator[LocalMosquitto]:
    """An MQTT broker that the test may kill, pause and restart; it retains nothing at the start."""
    try:
        find_mosquitto()
    except EngramError as error:
        give_up(str(error))
    server = LocalMosquitto(tmp_path / "own-mosquitto")
    try:
        server.start()
        server.wait_ready(READY_TIMEOUT_S)
        yield server
    finally:
        server.kill()


@pytest.fixture
def fresh_name(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """``fresh_name("frames")`` gives a name that nothing else has, with the test's name in it for readers of logs."""
    test = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40]

    def name(what: str = "x") -> str:
        return f"{what}-{test}-{uuid.uuid4().hex[:8]}"

    return name


def running_kafka(folder: Path, jars: Path) -> Iterator[LocalKafka]:
    """A broker that lives until the generator ends, however it ends."""
    server = LocalKafka(folder, jars, TEST_SETTINGS)
    try:
        server.start()
        server.wait_ready(READY_TIMEOUT_S)
        yield server
    finally:
        server.kill()


@contextmanager
def shared(server: LocalServer) -> Iterator[None]:
    """A server of all processes that name its folder: the first one starts it, the last one ends it."""
    users_path = server.folder / "users.json"

    @contextmanager
    def users() -> Iterator[set[int]]:
        server.folder.mkdir(parents=True, exist_ok=True)
        with (server.folder / "users.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            ids = set(json.loads(users_path.read_text())) if users_path.exists() else set()
            yield ids  # the lock is held while the server starts or ends
            users_path.write_text(json.dumps(sorted(ids)))

    try:
        with users() as ids:
            server.start()
            server.wait_ready(READY_TIMEOUT_S)
            ids.add(os.getpid())
        yield
    finally:
        with users() as ids:
            ids.discard(os.getpid())
            if not any(birth_of(pid) for pid in ids):
                server.kill()


def running_redis(folder: Path) -> Iterator[LocalRedis]:
    """As ``running_kafka``, for Redis."""
    server = LocalRedis(folder)
    try:
        server.start()
        server.wait_ready(READY_TIMEOUT_S)
        yield server
    finally:
        server.kill()
