"""Whether everything that Engram needs is there and set as it should be: one line each, with what to do if not."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import Timer
from typing import Literal

from engram.build.adapters import (
    is_sqlite,
    kafka_connection,
    open_bus,
    open_store,
    open_store_for_worker,
    redis_address,
    sealed_by,
    seals_of,
)
from engram.build.options import with_banks_for
from engram.build.topics import topic_specs, topic_state
from engram.one_line import one_line
from memory_store.bank import Bank
from memory_store.coordinator.options import CAMERA, is_named
from memory_store.store import BankReader, BankStore, all_banks
from memory_store.views import InitialBank
from messaging.ports import TopicSpec
from producers.sources import open_source
from schemas.errors import EngramError
from schemas.settings import AllSettings
from schemas.settings.connections import KafkaSection, StoreSection
from schemas.settings.detection import WorkerSection

FIRST_FRAME_TIMEOUT_S = 15.0
LEASE_S = 5.0
MOST_TOLD = 5
LEASE_BANK = "engram-doctor"
"""Not a bank: a lease is taken and returned under this name, so that nobody's real one is touched."""
USUAL_MAX_BYTES = 1_048_576
"""Largest record of topics whose limit is the broker's default."""
Process = Literal["all", "producer", "worker", "coordinator"]
NEEDS: Mapping[str, tuple[str, ...]] = {
    "producer": ("broker", "topics", "macs", "source"),
    "worker": ("broker", "topics", "macs", "store", "bundle", "backend"),
    "coordinator": ("broker", "topics", "macs", "store", "bundle"),
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was looked at, whether it works, what was seen, and what to do.

    Attributes:
        name: of what was looked at.
        ok: whether it works. It works and has a remedy: it should be mended all the same.
        detail: what was seen.
        remedy: what to do; empty if nothing.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""


class _UnwellError(EngramError):
    """What was looked at answers, but not as it should."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen, and what should be mended though it works."""

    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to look at. ``ask`` says what it saw, or raises; ``remedy`` helps unless the error knows better."""

    name: str
    ask: Callable[[], _Seen]
    remedy: str


def diagnoses(settings: AllSettings, process: Process, source: str | None) -> Iterator[Diagnosis]:
    """Look at one thing after the other; nothing raises, a fault is a diagnosis.

    Args:
        settings: of all processes.
        process: only what this one needs; "all" = everything.
        source: camera or file to take a frame from; none = no camera.
    """
    for question in _questions(settings, process, source):
        if process == "all" or question.name in NEEDS[process]:
            yield _asked(question)


def _questions(settings: AllSettings, process: Process, source: str | None) -> Iterator[Question]:
    servers = settings.kafka.bootstrap_servers
    broker = f"start Kafka ('engram stack up' for a local one), or set kafka.bootstrap_servers (now {servers})"
    yield Question("broker", lambda: _broker(settings), broker)
    yield Question("topics", lambda: _topics(settings), "mend the broker first, then 'engram doctor' again")
    yield Question("macs", lambda: _macs(settings.kafka), "mend the keys: docs/operations.md says what they look like")
    store = "start Redis ('engram stack up'), or set store.url, store.username, store.password"
    if process == "worker":
        yield Question("store", lambda: _store_of_worker(settings), store)
    else:
        yield Question("store", lambda: _store(settings.store), store)
    bundle = "set worker.bundle to a folder made by 'engram train'"
    yield Question("bundle", lambda: _bundle(settings, process), bundle)
    yield Question("backend", lambda: _backend(settings.worker), "set worker.device, worker.backend, or worker.bundle")
    if source is not None:
        yield Question("source", lambda: _source(source), "check address, network, user and password of the camera")


def _asked(question: Question) -> Diagnosis:
    try:
        seen = question.ask()
        return Diagnosis(question.name, True, seen.detail, seen.remedy)
    except _UnwellError as found:
        return Diagnosis(question.name, False, str(found), found.remedy)
    except Exception as error:  # a doctor reports whatever goes wrong, and looks at the rest
        return Diagnosis(question.name, False, one_line(error), question.remedy)


def _broker(settings: AllSettings) -> _Seen:
    from messaging.kafka.diagnosis import Fault, probe  # noqa: PLC0415 - the client takes a while to load

    found = probe(kafka_connection(settings.kafka))
    if isinstance(found, Fault):
        local = "; 'engram stack up' starts a local one" if found.verdict == "away" else ""
        raise _UnwellError(found.detail, found.remedy + local)
    with open_bus(settings.kafka) as bus:
        return _Seen(f"{found.address} answers, {len(bus.existing_topics())} topics")


def _topics(settings: AllSettings) -> _Seen:
    from messaging.kafka.inspection import topic_settings  # noqa: PLC0415 - the client takes a while to load

    specs = topic_specs(settings.kafka, max(settings.producer.max_frame_bytes, settings.worker.max_frame_bytes))
    with open_bus(settings.kafka) as bus:
        existing = bus.existing_topics()
    states = {spec.name: topic_state(spec, existing) for spec in specs}
    wrong = [f"{name} {state}" for name, state in states.items() if state != "ok"]
    if wrong:
        is_missing = "missing" in states.values()
        other = "set kafka.frames_partitions to what they have, or grow them: engram topics grow NUMBER"
        raise _UnwellError(", ".join(wrong), "engram topics create" if is_missing else other)
    found = topic_settings(kafka_connection(settings.kafka), [spec.name for spec in specs])
    differences = [difference for spec in specs for difference in _differences(spec, found.get(spec.name, {}))]
    if not differences:
        return _Seen(f"all {len(specs)} are there")
    text = "; ".join(difference.text for difference in differences)
    remedy = "; ".join(dict.fromkeys(difference.remedy for difference in differences))
    if any(difference.loses_records for difference in differences):
        raise _UnwellError(text, remedy)
    return _Seen(f"all {len(specs)} are there, but {text}", remedy)


def _macs(kafka: KafkaSection) -> _Seen:
    """Whether what teaches and what is scored is told from what anybody has written."""
    seals = seals_of(kafka)
    if seals is None:
        return _Seen("no keys: frames, proposals, states and verdicts are believed whoever wrote them")
    keys = {topic: [key.id for key in seals.keys_of(topic)] for topic in sealed_by(kafka)}
    told = (f"{topic} by {' or '.join(ids)}" if ids else f"{topic} not" for topic, ids in keys.items())
    return _Seen(f"records have MACs: {', '.join(told)}")


@dataclass(frozen=True, slots=True)
class _Difference:
    """One topic that is not set as the settings say.

    Attributes:
        text: how it is, and how it should be.
        remedy: what to do.
        loses_records: whether it refuses what is sent.
    """

    text: str
    remedy: str = "engram topics apply, or change the settings; --dry-run shows all that differs"
    loses_records: bool = False


def _differences(spec: TopicSpec, found: Mapping[str, str]) -> Iterator[_Difference]:
    wanted_bytes = spec.max_message_bytes or USUAL_MAX_BYTES
    has_bytes = found.get("max.message.bytes", "")
    if has_bytes.isdigit() and int(has_bytes) < wanted_bytes:
        text = f"{spec.name} takes records of at most {has_bytes} bytes, the settings allow {wanted_bytes}"
        if spec.max_message_bytes is None:  # no setting of ours speaks of it, so that nothing is to be applied
            remedy = f"raise max.message.bytes of {spec.name}, or message.max.bytes of the brokers, to {wanted_bytes}"
            yield _Difference(text, remedy, loses_records=True)
        else:
            yield _Difference(text, loses_records=True)
    policy = "compact" if spec.compacted else "delete"
    if policy not in found.get("cleanup.policy", policy):
        text = f"{spec.name} has cleanup.policy {found['cleanup.policy']}, it should have {policy}"
        yield _Difference(text)
    kept = found.get("retention.ms")
    if not spec.compacted and spec.retention_ms is not None and kept not in (None, str(spec.retention_ms)):
        text = f"{spec.name} keeps records for {_seconds(str(kept))}, the settings say {spec.retention_ms / 1000:.0f} s"
        yield _Difference(text)


def _seconds(milliseconds: str) -> str:
    return "ever" if milliseconds == "-1" else f"{int(milliseconds) / 1000:.0f} s"


def _store(store: StoreSection) -> _Seen:
    with open_store(store) as banks:
        known = banks.list_banks()
        for bank_id in known[:1]:
            banks.read(bank_id)
        detail = f"answers, banks: {', '.join(known) or 'none yet'}"
        if is_sqlite(store):
            _take_lease(banks)
            return _Seen(detail)
        remedy = _redis_remedy(store)
        _take_lease(banks)
    return _Seen(detail if not remedy else f"{detail}, but {remedy[0]}", remedy[1] if remedy else "")


def _take_lease(banks: BankStore) -> None:
    holder = f"doctor-{secrets.token_hex(4)}"
    lease = banks.acquire(LEASE_BANK, holder, LEASE_S)
    if lease is not None:  # else another doctor is here at this moment, who could take it
        banks.release(lease)


def _redis_remedy(store: StoreSection) -> tuple[str, str] | None:
    """What works and should be mended; raises what does not work."""
    from memory_store.stores.inspection import redis_facts  # noqa: PLC0415 - needs an extra

    facts = redis_facts(redis_address(store))
    if facts.role == "slave":
        raise _UnwellError(
            "this Redis is a replica, which takes no writes", "set store.url to the primary, or promote this one"
        )
    if facts.eviction not in (None, "noeviction"):
        detail = f"maxmemory-policy is {facts.eviction}: a full Redis throws banks away"
        return detail, "redis-cli CONFIG SET maxmemory-policy noeviction (and in redis.conf, to stay)"
    return None


def _store_of_worker(settings: AllSettings) -> _Seen:
    """With the rights that a worker needs, and no more: it reads its bank by name."""
    bank_id = settings.memory.bank_id.replace("{camera_id}", "camera")
    with open_store_for_worker(settings.store) as banks:
        return _Seen(_read_by_name(banks, bank_id))


def _read_by_name(banks: BankReader, bank_id: str) -> str:
    found = banks.read(bank_id)
    state = "is not there yet, the coordinator makes it" if found is None else f"has version {found.version}"
    return f"answers, bank {bank_id} {state}"


def _bundle(settings: AllSettings, process: Process) -> _Seen:
    from bundles.bundle import load_bundle  # noqa: PLC0415 - needs an extra, which a producer has not
    from engram.build.bundles import bundle_folder  # noqa: PLC0415

    folder = bundle_folder(settings.worker.bundle)
    bundle = load_bundle(folder)
    detail = f"{folder} is whole: {bundle.model}, digest {bundle.digest[:12]}"
    if InitialBank.of_bundle(bundle).is_empty:
        return _Seen(detail)
    memory = with_banks_for(settings, bundle.calibration).memory
    foreign = [
        bank for bank in _banks_named(settings.store, memory.bank_id, process) if bank.bundle_digest != bundle.digest
    ]
    if not foreign:
        return _Seen(detail)
    named = ", ".join(f"{bank.bank_id} of {bank.bundle_digest[:12]}" for bank in foreign[:MOST_TOLD])
    text = f"{detail}, but {len(foreign)} banks of the store are of another bundle: {named}"
    remedy = "set worker.bundle to theirs, or memory.bank_id or store.key_prefix to what no other bundle has"
    if CAMERA in memory.bank_id:  # perhaps of cameras that are no longer there
        return _Seen(text, remedy)
    raise _UnwellError(text, remedy)


def _banks_named(store: StoreSection, template: str, process: Process) -> list[Bank]:
    """The banks that the settings name, as far as this process may see them; a store that is away is told elsewhere."""
    try:
        if process != "worker":
            with open_store(store) as banks:
                return [bank for bank in all_banks(banks)[0] if is_named(bank.bank_id, template)]
        if CAMERA in template:
            return []  # a worker may not ask which there are
        with open_store_for_worker(store) as reader:
            bank = reader.read(template)
            return [] if bank is None else [bank]
    except EngramError:
        return []


def _backend(worker: WorkerSection) -> _Seen:
    """The network is opened as a worker does it: a library may be there and still not load."""
    from bundles.bundle import load_bundle  # noqa: PLC0415 - needs an extra, which a producer has not
    from engram.build.bundles import bundle_folder  # noqa: PLC0415
    from inference.backends.choose import choose  # noqa: PLC0415
    from inference.backends.torch import torch_device  # noqa: PLC0415
    from inference.engine import engine_of  # noqa: PLC0415

    folder = bundle_folder(worker.bundle)
    bundle = load_bundle(folder)
    choice = choose(worker.backend, torch_device(worker.device), folder, bundle.digest)
    engine_of(bundle, worker.device, worker.threads, choice)
    return _Seen(f"{choice.name}: {choice.why}", choice.remedy)


def _source(text: str) -> _Seen:
    """Take one frame, with a deadline: a camera that never answers must not hang the doctor."""
    source = open_source(text)
    deadline = Timer(FIRST_FRAME_TIMEOUT_S, source.close)
    deadline.start()
    try:
        frame = next(iter(source), None)
    finally:
        deadline.cancel()
        source.close()
    if frame is None:
        detail = f"{source.describe()} gave no frame within {FIRST_FRAME_TIMEOUT_S:.0f} s: {source.status.reason}"
        raise _UnwellError(detail, "check address, network, user and password of the camera")
    height, width = frame.image.shape[:2]
    return _Seen(f"{source.describe()} gives frames of {width} x {height} pixels")
