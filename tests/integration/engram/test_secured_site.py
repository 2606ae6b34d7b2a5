"""A site behind TLS, passwords, access rules and MACs: each role with a user and rights of its own, and no more.

Edge, worker and coordinator are the real ones, over a real broker and a real Redis; their rights are those that
``engram topics acls`` and ``engram bank acls`` print.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from redis import Redis

from console.board import Board
from console.reading import ReadTally
from consumers.reader import EventReader
from deploy.local.ports import free_port
from deploy.local.redis import LocalRedis
from deploy.local.wait import wait_until
from engram.build.adapters import open_bus, open_store, open_store_for_worker
from engram.build.options import coordinator_group, worker_group
from engram.build.rights import Role, rights_of
from engram.build.topics import topic_specs
from engram.observe.fleet_pipes import FleetPipes
from engram.run.fleet import run_coordinator, run_worker
from engram.run.process import Crew
from engram.run.producer import run_producer
from memory_store.stores.redis import reader_acl, writer_acl
from messaging.dead_letters import REASON, SOURCE
from messaging.ports import Bus, OutRecord, Record
from messaging.sealing import MAC
from schemas.errors import FatalError
from schemas.messages import AnomalyEvent
from schemas.settings import (
    AllSettings,
    CoordinatorSettings,
    ProducerSettings,
    WorkerSettings,
    load_settings,
    load_with_origins,
)
from schemas.topics import TopicNames
from tests.certificates import authority, signed
from tests.secured_kafka import ROLE_PASSWORDS, SecuredKafka, token
from tests.small_bundle import jpeg

PATIENCE_S = 120.0
NUM_FRAMES = 130
SECURED: Sequence[Role] = ("edge", "worker", "coordinator", "consumer", "console")
BANK_ID = "lobby"
KEYS = {role: f"{role} 2026-11 {role.encode().hex():0<64}" for role in ("edge", "worker", "console")}
HELD = {"edge": ("edge",), "worker": ("edge", "worker"), "coordinator": ("worker", "console"), "console": ("console",)}


@dataclass(frozen=True, slots=True)
class Site:
    """Where everything is, and who may do what."""

    broker: SecuredKafka
    redis_port: int
    redis_authority: Path
    folder: Path
    bundle: Path

    @property
    def topics(self) -> TopicNames:
        return TopicNames.with_prefix("site.")

    def overrides(self, role: Role, sealed: bool = True) -> dict[str, object]:
        """Settings of a process of this role, each with another mechanism."""
        listener, mechanism = {
            "worker": ("sasl_tls", "PLAIN"),
            "coordinator": ("oauth", "OAUTHBEARER"),
        }.get(role, ("scram_tls", "SCRAM-SHA-512"))
        is_token = mechanism == "OAUTHBEARER"
        store_user = "worker" if role == "worker" else "coordinator"
        own: dict[str, object] = {
            "kafka.bootstrap_servers": self.broker.at[listener],
            "kafka.security_protocol": "SASL_SSL",
            "kafka.sasl_mechanism": mechanism,
            "kafka.username": None if is_token else role,
            "kafka.password": None if is_token else ROLE_PASSWORDS[role],
            "kafka.credentials_file": self.folder / "token" if is_token else None,
            "kafka.ssl_cafile": self.broker.authority,
            "kafka.mac_keys": ";".join(KEYS[held] for held in HELD.get(role, ())) if sealed else None,
        }
        return own | {
            "kafka.topic_prefix": "site.",
            "kafka.frames_partitions": 2,
            "store.url": f"rediss://localhost:{self.redis_port}/0",
            "store.username": store_user,
            "store.password": ROLE_PASSWORDS[store_user],
            "store.ssl_cafile": self.redis_authority,
            "store.key_prefix": "site",
            "memory.bank_id": BANK_ID,
            "worker.bundle": self.bundle,
            "worker.threads": 1,
            "worker.worker_id": "w1",
            "coordinator.round_s": 0.5,
            "coordinator.quarantine_s": 0.1,
            "coordinator.change_budget_per_round": 10.0,
            "coordinator.change_budget_per_hour": 1000.0,
            "coordinator.max_anchor_distance": 2.0,
            "producer.source_fps": 10.0,
            "producer.fps": 10.0,
            "producer.pace": "backfill",
        }

    def settings(self, role: Role, sealed: bool = True) -> AllSettings:
        return load_settings(AllSettings, None, self.overrides(role, sealed))


def give_rights(site: Site) -> None:
    """Those of the table, and passwords for SCRAM, as an operator would."""
    with closing(KafkaAdminClient(bootstrap_servers=site.broker.at["plain"])) as admin:
        for role in SECURED:
            admin.alter_user_scram_credentials(
                [UserScramCredentialUpsertion(role, ScramMechanism.SCRAM_SHA_512, ROLE_PASSWORDS[role])]
            )
            made = admin.create_acls(list(acls(role, site)))
            assert not made["failed"]


def acls(role: Role, site: Site) -> Iterator[ACL]:
    for right in rights_of(role, site.settings(role).kafka):
        kind = ResourceType[right.resource.upper().replace("-", "_")]
        pattern = ACLResourcePatternType.PREFIXED if right.is_prefix else ACLResourcePatternType.LITERAL
        for operation in right.operations:
            place = ResourcePattern(kind, right.name, pattern)
            yield ACL(f"User:{role}", "*", ACLOperation[operation.upper()], ACLPermissionType.ALLOW, place)


@pytest.fixture(scope="module")
def site(
    broker: SecuredKafka, redis_requirements: None, bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """With topics and rights; a coordinator and a worker at work."""
    folder = tmp_path_factory.mktemp("site")
    trusted = authority(folder, "redis-authority")
    cert, key = signed(folder, "localhost", trusted)
    port = free_port(())
    tls = {"tls-port": port, "tls-cert-file": cert, "tls-key-file": key, "tls-ca-cert-file": trusted}
    redis = LocalRedis(folder, {name: str(value) for name, value in tls.items()} | {"tls-auth-clients": "no"})
    (folder / "token").write_text(token("coordinator"))
    made = Site(broker, port, trusted, folder, bundle)
    with ExitStack() as ended:
        ended.callback(redis.kill)
        redis.start()
        redis.wait_ready(PATIENCE_S)
        with closing(Redis.from_url(redis.url)) as admin:
            for user, rules in (("worker", reader_acl("site")), ("coordinator", writer_acl("site"))):
                admin.execute_command("ACL", "SETUSER", user, "reset", "on", f">{ROLE_PASSWORDS[user]}", *rules.split())
        kafka = made.settings("edge").kafka
        plain = kafka.model_copy(
            update={"bootstrap_servers": broker.at["plain"], "security_protocol": "PLAINTEXT", "sasl_mechanism": None}
        )
        with open_bus(plain) as bus:
            bus.create_topics(topic_specs(plain, 262_144))
        give_rights(made)
        ended.enter_context(at_work(made))
        yield made


@contextmanager
def at_work(site: Site) -> Iterator[None]:
    """A coordinator and a worker in threads; what one of them raised is raised here."""
    coordinate = load_settings(CoordinatorSettings, None, site.overrides("coordinator"))
    work = load_settings(WorkerSettings, None, site.overrides("worker"))
    crew, stop = Crew(), threading.Event()
    crew.start("coordinator", lambda: run_coordinator(coordinate, stop))
    crew.start("worker", lambda: run_worker(work, stop))
    try:
        yield
    finally:
        stop.set()
        assert not crew.join(PATIENCE_S)
    crew.raise_error()


@pytest.fixture(scope="module")
def events(site: Site) -> Sequence[AnomalyEvent]:
    """Of a recording that a real edge has sent, as a consumer sees them."""
    footage = site.folder / "footage"
    footage.mkdir()
    for index in range(NUM_FRAMES):
        (footage / f"{index:04}.jpg").write_bytes(jpeg("calm", index))
    loaded = load_with_origins(ProducerSettings, None, site.overrides("edge"), {})
    run_producer(loaded, [str(footage)], ["calm"], threading.Event())
    found: list[AnomalyEvent] = []

    def is_over() -> bool:
        found.extend(reader.read(0.5))
        return any(event.data.phase == "end" for event in found)

    with open_bus(site.settings("consumer").kafka) as bus:
        reader = EventReader(bus.reader([site.topics.anomaly_events], from_beginning=True))
        assert wait_until(is_over, PATIENCE_S)
    return found


def records(site: Site, topic: str) -> Sequence[Record]:
    """As a consumer reads them."""
    with open_bus(site.settings("consumer").kafka) as bus, closing(bus.reader([topic], True)) as reader:
        return reader.read_to_end(PATIENCE_S)


def test_with_its_rights_alone_each_role_does_its_work(site: Site, events: Sequence[AnomalyEvent]) -> None:
    assert {event.data.phase for event in events} >= {"start", "end"}
    assert {event.data.provenance.worker_id for event in events} == {"w1"}
    assert wait_until(lambda: len(records(site, site.topics.frame_scores)) == NUM_FRAMES, PATIENCE_S)
    with open_store_for_worker(site.settings("worker").store) as banks:

        def has_learned() -> bool:
            bank = banks.read(BANK_ID)
            return bank is not None and bank.version > 0

        assert wait_until(has_learned, PATIENCE_S), "a proposal must have become a version"
    assert records(site, site.topics.dead_letters) == []


FORBIDDEN: Sequence[tuple[Role, str, str]] = [
    ("edge", "frame_scores", "no right to topics ['site.frame-scores']"),
    ("edge", "memory_updates", "no right to topics ['site.memory-updates']"),
    ("edge", "operator_verdicts", "no right to topics ['site.operator-verdicts']"),
    ("worker", "frames", "lacks Write on topic 'site.frames'"),
    ("worker", "memory_banks", "no right to topics ['site.memory-banks']"),
    ("worker", "operator_verdicts", "no right to topics ['site.operator-verdicts']"),
    ("coordinator", "memory_updates", "lacks Write on topic 'site.memory-updates'"),
    ("coordinator", "operator_verdicts", "lacks Write on topic 'site.operator-verdicts'"),
    ("consumer", "anomaly_events", "lacks Write on topic 'site.anomaly-events'"),
    ("consumer", "frames", "no right to topics ['site.frames']"),
    ("console", "memory_updates", "lacks Write on topic 'site.memory-updates'"),
    ("console", "memory_banks", "this user lacks Write on topic 'site.memory-banks'"),
]


@pytest.mark.parametrize("role", SECURED)
def test_what_a_role_must_not_write_is_refused_and_named(site: Site, role: Role) -> None:
    """The broker refuses, and Engram says what is missing, within seconds."""
    with open_bus(site.settings(role).kafka) as bus:
        for one, topic, said in FORBIDDEN:
            if one == role:
                answer = answer_to(bus, OutRecord(getattr(site.topics, topic), "k", b"forged"))
                assert said in answer
                assert "engram topics acls" in answer


def answer_to(bus: Bus, record: OutRecord) -> str:
    """What comes of publishing it: the text of the error, or nothing."""
    answers: list[Exception | None] = []
    publisher = bus.publisher()
    try:
        publisher.publish(record, answers.append)
        assert publisher.flush(PATIENCE_S)
    except FatalError as error:
        return str(error)
    finally:
        publisher.close(1.0)
    assert answers[0] is None or isinstance(answers[0], FatalError)
    return str(answers[0] or "")


def test_what_a_role_must_not_read_is_refused_and_named(site: Site) -> None:
    group = worker_group(site.settings("worker").kafka)
    with open_bus(site.settings("edge").kafka) as bus:
        with pytest.raises(FatalError, match=r"no right to topics \['site.camera-states'\]"):
            bus.reader([site.topics.camera_states], from_beginning=True)
        with pytest.raises(FatalError, match=r"lacks Read on topic 'site.frames'"):
            bus.reader([site.topics.frames], from_beginning=True).read(1, 30.0)
    with (
        open_bus(site.settings("consumer").kafka) as bus,
        pytest.raises(FatalError, match=f"lacks Read on group '{group}'"),
    ):
        bus.subscription([site.topics.anomaly_events], group).receive(1, 60.0)


def test_a_console_sees_how_far_groups_are_and_no_frame(site: Site) -> None:
    kafka = site.settings("console").kafka
    with closing(FleetPipes(kafka, Board(), ReadTally())) as pipes:
        seen = pipes()
    assert seen.trouble == ()
    assert [lag.name for lag in seen.lags] == [worker_group(kafka), coordinator_group(kafka)]
    with open_bus(kafka) as bus, pytest.raises(FatalError, match=r"lacks Read on topic 'site.frames'"):
        bus.reader([site.topics.frames], from_beginning=True).read(1, 30.0)


def test_a_worker_may_read_banks_and_not_write_them(site: Site) -> None:
    with open_store(site.settings("worker").store) as banks, pytest.raises(FatalError, match="ACL"):
        banks.acquire(BANK_ID, "w1", 1.0)
    with open_store(site.settings("coordinator").store) as banks:
        lease = banks.acquire("another", "c1", 1.0)
        assert lease is not None
        banks.release(lease)
        assert BANK_ID in banks.list_banks()


def test_who_has_the_users_and_not_the_keys_forges_nothing(site: Site, events: Sequence[AnomalyEvent]) -> None:
    """Frames and proposals word for word as honest ones but for one thing end as dead letters with their reason."""
    frame, proposal = (
        any_honest(site, "worker", site.topics.frames),
        any_honest(site, "coordinator", site.topics.memory_updates),
    )
    assert any_honest(site, "worker", site.topics.camera_states), "has no reader that writes letters"
    forged: Sequence[tuple[Role, OutRecord, str]] = [
        ("edge", replace(frame, headers=without_mac(frame)), "no_mac"),
        ("edge", replace(frame, value=jpeg("calm", 80)), "bad_mac"),
        ("worker", replace(proposal, headers=without_mac(proposal)), "no_mac"),
        ("worker", replace(proposal, value=(proposal.value or b"")[:-4] + bytes(4)), "bad_mac"),
    ]
    for role, record, _ in forged:
        with open_bus(site.settings(role, sealed=False).kafka) as bus:
            assert answer_to(bus, record) == ""
    wanted = sorted((reason, record.topic) for _, record, reason in forged)
    assert wait_until(lambda: told_of_letters(site) == wanted, PATIENCE_S), told_of_letters(site)


def told_of_letters(site: Site) -> list[tuple[str, str]]:
    """Reason and topic of each dead letter."""
    found = records(site, site.topics.dead_letters)
    sources = [(one.header(SOURCE) or b"").decode().partition("/")[0] for one in found]
    return sorted(((one.header(REASON) or b"").decode(), source) for one, source in zip(found, sources, strict=True))


def any_honest(site: Site, role: Role, topic: str) -> OutRecord:
    with open_bus(site.settings(role).kafka) as bus, closing(bus.reader([topic], True)) as reader:
        record = reader.read_to_end(PATIENCE_S)[0]
    assert record.flaw is None
    assert record.header(MAC)
    return OutRecord(topic, (record.key or b"").decode(), record.value, record.headers)


def without_mac(record: OutRecord) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value) for name, value in record.headers if name != MAC)
