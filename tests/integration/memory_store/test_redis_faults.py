"""The Redis store and those who use it, with a real server that hangs, dies, forgets and answers too late."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from deploy.local.redis import LocalRedis
from memory_store.bank import Bank, Change, first_broken_link
from memory_store.coordinator.options import RoundRules
from memory_store.store import CommitRequest
from memory_store.stores.redis import RedisStore, reader_acl
from memory_store.stores.redis_client import RedisAddress
from memory_store.views import BankCache
from schemas.credentials import CredentialFile
from schemas.errors import FatalError, SettingsError, TransientError
from tests.integration.memory_store.bench import BANK_ID, INITIAL, Bench, initial_bank, proposal, proposals
from tests.proxy import FaultProxy
from tests.unit.memory_store.proposals import FREEZE, THAW, a_bank, unit_rows

AT_ONCE = RoundRules(round_s=0)
PATIENCE_S = 60.0
PASSWORD = "s3cret-Pa55"


@pytest.fixture
def proxy(own_redis: LocalRedis) -> Iterator[FaultProxy]:
    with FaultProxy(lambda: int(own_redis.address.rpartition(":")[2])) as running:
        yield running


@pytest.fixture
def near(own_redis: LocalRedis) -> Iterator[RedisStore]:
    """A store that goes past the proxy."""
    store = RedisStore.for_coordinator(RedisAddress(own_redis.url))
    yield store
    store.close()


@pytest.fixture
def far(proxy: FaultProxy) -> Iterator[RedisStore]:
    """A coordinator's store behind the proxy."""
    store = RedisStore.for_coordinator(RedisAddress(f"redis://{proxy.address}/0"))
    yield store
    store.close()


@pytest.fixture
def workers(proxy: FaultProxy) -> Iterator[RedisStore]:
    """A worker's store behind the proxy."""
    store = RedisStore.for_worker(RedisAddress(f"redis://{proxy.address}/0"))
    yield store
    store.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"


def change(commit_id: str) -> Change:
    return Change("update", "c1", "round", commit_id)


def created(store: RedisStore) -> Bank:
    return store.create(a_bank(), replace(change("create"), action="create"))


def test_a_reply_lost_after_the_write_adds_exactly_one_version(
    near: RedisStore, far: RedisStore, proxy: FaultProxy
) -> None:
    bank = created(near)
    lease = far.acquire(BANK_ID, "c1", 60)
    assert lease is not None
    request = CommitRequest(lease, bank.followed_by(unit_rows(1, 4, 6), bank.committed_at), change("one"))
    assert far.read(BANK_ID) is not None  # the connection is up, so the next answers are those of the commit
    statuses = []
    for lost in range(1, 4):
        proxy.drop_replies(lost)
        statuses.append(far.commit(request).status)
    assert proxy.num_dropped >= 3
    assert statuses[-1] == "duplicate"
    assert [entry.version for entry in near.log(BANK_ID)] == [0, 1]


def test_a_reply_lost_on_the_write_itself_is_answered_as_duplicate(
    near: RedisStore, far: RedisStore, proxy: FaultProxy
) -> None:
    bank = created(far)  # which also loads the script, so that the next answer of it is that of the commit
    lease = far.acquire(BANK_ID, "c1", 60)
    assert lease is not None
    write = far._scripts["write"]

    def losing_its_answer(**arguments: object) -> object:
        proxy.drop_replies(1)
        return write(**arguments)  # type: ignore[arg-type]

    far._scripts["write"] = losing_its_answer  # type: ignore[assignment]
    outcome = far.commit(CommitRequest(lease, bank.followed_by(unit_rows(1, 4, 6), bank.committed_at), change("one")))
    assert (proxy.num_dropped, outcome.status) == (1, "duplicate")
    assert [entry.version for entry in near.log(BANK_ID)] == [0, 1]


def test_a_reply_lost_on_a_freeze_adds_one_entry_which_is_told(
    near: RedisStore, far: RedisStore, proxy: FaultProxy
) -> None:
    created(near)
    assert far.unfreeze(BANK_ID, *THAW) is None  # which loads the script, so that the next answer of it is the freeze's
    script = far._scripts["freeze"]

    def losing_its_answer(**arguments: object) -> object:
        proxy.drop_replies(1)
        return script(**arguments)  # type: ignore[arg-type]

    far._scripts["freeze"] = losing_its_answer  # type: ignore[assignment]
    entry = far.freeze(BANK_ID, *FREEZE)
    assert proxy.num_dropped == 1
    assert entry == near.log(BANK_ID)[-1]
    assert [entry.change.action for entry in near.log(BANK_ID)] == ["create", "freeze"]


def test_a_black_hole_makes_a_worker_stale_long_before_the_librarys_own_patience(
    near: RedisStore, workers: RedisStore, proxy: FaultProxy
) -> None:
    bank = created(near)
    cache = BankCache(workers, INITIAL, refresh_s=0.0)
    until(lambda: cache.view(BANK_ID).memory_state == "live")
    proxy.black_hole()
    began_at = time.monotonic()
    view = cache.view(BANK_ID)
    assert (view.memory_state, view.bank.digest) == ("stale", bank.digest)
    assert time.monotonic() - began_at < 30.0  # redis-py would wait a minute by default
    proxy.heal()
    until(lambda: cache.view(BANK_ID).memory_state == "live")


def test_a_killed_redis_makes_a_worker_stale_and_its_return_live(own_redis: LocalRedis) -> None:
    store = RedisStore.for_worker(RedisAddress(own_redis.url))
    bank = created(store)
    cache = BankCache(store, INITIAL, refresh_s=0.0)
    until(lambda: cache.view(BANK_ID).memory_state == "live")
    own_redis.kill()
    assert cache.view(BANK_ID).memory_state == "stale"
    assert cache.view(BANK_ID).bank.digest == bank.digest
    with pytest.raises(TransientError, match="away"):
        store.read(BANK_ID)
    own_redis.start()
    own_redis.wait_ready(PATIENCE_S)
    until(lambda: cache.view(BANK_ID).memory_state == "live")


def test_a_coordinator_holds_on_to_proposals_while_redis_is_away(
    near: RedisStore, far: RedisStore, proxy: FaultProxy
) -> None:
    bench = Bench(far)
    coordinator = bench.coordinator()
    records, expected_MC = proposals(initial_bank(), 3)
    bench.send(*records)
    bench.pass_time(coordinator, 10)
    proxy.refuse()
    bench.pass_time(coordinator, 200, step_s=50)
    snapshot = coordinator.snapshot()
    assert (snapshot.held, snapshot.committed) == (3, 0)
    assert "away" in (snapshot.trouble or "")
    proxy.heal()

    def is_committed() -> bool:
        bench.pass_time(coordinator, 10)
        return coordinator.snapshot().committed == 3

    until(is_committed)
    found = near.read(BANK_ID)
    assert found is not None
    assert (found.version, found.items_MC.tobytes()) == (1, expected_MC.tobytes())
    assert coordinator.snapshot().trouble is None
    assert coordinator.snapshot().adds_up()


def test_a_commit_whose_answers_were_all_lost_is_counted_once(
    near: RedisStore, far: RedisStore, proxy: FaultProxy
) -> None:
    bench = Bench(far)
    coordinator = bench.coordinator(rules=AT_ONCE)
    bench.pass_time(coordinator, 1)
    bench.send(proposal(initial_bank())[0])
    commit = far.commit

    def losing_everything(request: CommitRequest) -> object:
        outcome = commit(request)
        far.commit = commit  # type: ignore[method-assign]
        raise TransientError(f"all answers lost, though it was {outcome.status}")

    far.commit = losing_everything  # type: ignore[method-assign,assignment]
    bench.pass_time(coordinator, 20)
    snapshot = coordinator.snapshot()
    assert (snapshot.committed, snapshot.commits, snapshot.rejected) == (1, 1, {})
    assert snapshot.adds_up()
    assert [entry.version for entry in near.log(BANK_ID)] == [0, 1]
    assert bench.archived()[BANK_ID].version == 1


def test_a_redis_that_was_wiped_under_way_gets_its_bank_back_under_a_new_epoch(
    own_redis: LocalRedis, near: RedisStore
) -> None:
    bench = Bench(near)
    coordinator = bench.coordinator(rules=AT_ONCE)
    bench.send(proposal(initial_bank())[0])
    bench.pass_time(coordinator, 5)
    cache = BankCache(near, INITIAL, refresh_s=0.0)
    before = cache.view(BANK_ID).bank
    assert before.version == 1
    Redis.from_url(own_redis.url).flushall()
    assert (cache.view(BANK_ID).memory_state, cache.view(BANK_ID).bank.version) == ("stale", 1)
    bench.pass_time(coordinator, 30)
    view = cache.view(BANK_ID)
    assert (view.memory_state, view.bank.version, view.bank.digest) == ("live", 1, before.digest)
    assert view.bank.epoch > before.epoch
    assert bench.archived()[BANK_ID].epoch == view.bank.epoch
    bench.send(proposal(view.bank, "cam2")[0])
    bench.pass_time(coordinator, 5)
    assert cache.view(BANK_ID).bank.version == 2
    assert first_broken_link(near.log(BANK_ID)) is None


def test_a_reader_may_read_and_nothing_else(own_redis: LocalRedis, near: RedisStore) -> None:
    bank = created(near)
    admin = Redis.from_url(own_redis.url)
    rules = ["on", f">{PASSWORD}", *reader_acl("engram").split()]
    admin.execute_command("ACL", "SETUSER", "worker", *rules)
    reader = RedisStore.for_worker(RedisAddress(own_redis.url, username="worker", password=PASSWORD))
    found = reader.read(BANK_ID)
    assert found is not None
    assert reader.read_if_newer(found) is found
    assert reader.read_version(BANK_ID, 0) is not None
    assert len(reader.log(BANK_ID)) == 1
    assert (list(reader.versions(BANK_ID)), reader.head(BANK_ID)) == ([0], near.head(BANK_ID))
    for write in (
        lambda: reader.freeze(BANK_ID, *FREEZE),
        lambda: reader.acquire(BANK_ID, "w1", 1.0),
        lambda: reader.create(a_bank(bank_id="dock"), change("x")),
        lambda: RedisStore(reader._client, "other").read(BANK_ID),
    ):
        with pytest.raises(FatalError, match="ACL"):
            write()
    assert near.read_if_newer(bank) is bank


def test_a_wrong_password_is_fatal_and_not_shown(own_redis: LocalRedis) -> None:
    Redis.from_url(own_redis.url).execute_command("ACL", "SETUSER", "ann", "on", ">right")
    address = RedisAddress(own_redis.url, username="ann", password=PASSWORD)
    store = RedisStore.for_coordinator(address)
    with pytest.raises(FatalError, match="password") as caught:
        store.read(BANK_ID)
    assert PASSWORD not in f"{caught.value} {address!r} {store!r}"


@pytest.mark.parametrize("url", [f"redis://:{PASSWORD}@host:notaport/0", f"http://{PASSWORD}"])
def test_a_malformed_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        RedisStore.for_worker(RedisAddress(url))
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None


def test_damaged_content_is_fatal_with_a_hint(own_redis: LocalRedis, near: RedisStore) -> None:
    created(near)
    Redis.from_url(own_redis.url).hset(f"{{engram:{BANK_ID}}}:h", "items", b"\0" * 96)
    with pytest.raises(FatalError, match="engram bank rollback"):
        near.read(BANK_ID)


def test_prefixes_do_not_see_each_other_even_if_one_begins_like_the_other(own_redis: LocalRedis) -> None:
    stores = {
        name: RedisStore.for_coordinator(RedisAddress(own_redis.url, name)) for name in ("site", "site:a", "other")
    }
    for name, store in stores.items():
        store.create(a_bank(bank_id=f"bank-of-{name.replace(':', '-')}"), change(name))
    assert {name: list(store.list_banks()) for name, store in stores.items()} == {
        "site": ["bank-of-site"],
        "site:a": ["bank-of-site-a"],
        "other": ["bank-of-other"],
    }


@pytest.mark.parametrize("prefix", ["", "a*", "a b", "{a}", "a?", "x" * 101])
def test_a_prefix_that_could_be_a_pattern_is_refused(prefix: str) -> None:
    with pytest.raises(SettingsError, match="key prefix"):
        RedisStore.for_worker(RedisAddress("redis://127.0.0.1:1/0", prefix))
    with pytest.raises(SettingsError, match="key prefix"):
        reader_acl(prefix)


def test_a_redis_that_may_not_write_just_now_is_a_passing_trouble(own_redis: LocalRedis, near: RedisStore) -> None:
    bank = created(near)
    admin = Redis.from_url(own_redis.url)
    admin.config_set("min-replicas-to-write", 1)
    with pytest.raises(TransientError, match="NOREPLICAS"):
        near.freeze(BANK_ID, *FREEZE)
    assert near.read_if_newer(bank) is bank
    admin.config_set("min-replicas-to-write", 0)
    near.freeze(BANK_ID, *FREEZE)


def test_a_full_redis_is_waited_for_by_a_coordinator(own_redis: LocalRedis, near: RedisStore) -> None:
    """The client strips the first word of this answer, so that only its class tells it."""
    bench = Bench(near)
    coordinator = bench.coordinator(rules=AT_ONCE)
    bench.pass_time(coordinator, 1)
    admin = Redis.from_url(own_redis.url)
    admin.config_set("maxmemory", 1)
    bench.send(proposal(initial_bank())[0])
    bench.pass_time(coordinator, 20)
    assert "maxmemory" in (coordinator.snapshot().trouble or "")
    assert coordinator.snapshot().held == 1
    admin.config_set("maxmemory", 0)

    def has_committed() -> bool:
        bench.pass_time(coordinator, 5)
        return coordinator.snapshot().committed == 1

    until(has_committed)
    assert coordinator.snapshot().adds_up()


def test_a_password_that_is_rotated_makes_a_worker_stale_and_it_comes_back(own_redis: LocalRedis) -> None:
    admin = Redis.from_url(own_redis.url)
    rules = ["on", "~*", "&*", "+@all"]
    admin.execute_command("ACL", "SETUSER", "ann", *rules, f">{PASSWORD}")
    store = RedisStore.for_worker(RedisAddress(own_redis.url, username="ann", password=PASSWORD))
    created(store)
    cache = BankCache(store, INITIAL, refresh_s=0.0)
    until(lambda: cache.view(BANK_ID).memory_state == "live")
    admin.execute_command("ACL", "SETUSER", "ann", "resetpass", ">other")
    admin.execute_command("CLIENT", "KILL", "USER", "ann")
    until(lambda: cache.view(BANK_ID).memory_state == "stale")
    with pytest.raises(FatalError, match=r"password"):
        RedisStore.for_worker(RedisAddress(own_redis.url, username="ann", password=PASSWORD)).read(BANK_ID)
    admin.execute_command("ACL", "SETUSER", "ann", f">{PASSWORD}")
    until(lambda: cache.view(BANK_ID).memory_state == "live")


def test_a_password_that_rotates_in_its_file_needs_no_restart(own_redis: LocalRedis, tmp_path: Path) -> None:
    file, admin = tmp_path / "password", Redis.from_url(own_redis.url)
    file.write_text("first\n")
    admin.execute_command("ACL", "SETUSER", "ann", "on", "~*", "&*", "+@all", ">first")
    credentials = CredentialFile(file, "store.credentials_file")
    store = RedisStore.for_worker(RedisAddress(own_redis.url, username="ann", credentials=credentials))
    created(store)
    file.write_text("second\n")
    admin.execute_command("ACL", "SETUSER", "ann", "resetpass", ">second")
    admin.execute_command("CLIENT", "KILL", "USER", "ann")
    cache = BankCache(store, INITIAL, refresh_s=0.0)
    until(lambda: cache.view(BANK_ID).memory_state == "live")
    assert "second" not in f"{credentials!r} {store!r}"


def test_a_demoted_primary_is_let_go(own_redis: LocalRedis, near: RedisStore) -> None:
    """Behind one name there may be another server by now; the next call must ask for it anew."""
    created(near)
    admin = Redis.from_url(own_redis.url)
    before = {client["id"] for client in admin.client_list() if client["name"] == "engram"}
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(TransientError, match="read only"):
        near.freeze(BANK_ID, *FREEZE)
    admin.execute_command("REPLICAOF", "NO", "ONE")
    near.freeze(BANK_ID, *FREEZE)
    after = {client["id"] for client in admin.client_list() if client["name"] == "engram"}
    assert before
    assert not before & after


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("rediss://{address}/0", "must speak TLS"),
        ("redis://no-such-host.invalid:6379/0", "no-such-host.invalid:6379 must have a known host name"),
    ],
)
def test_an_address_that_cannot_work_is_fatal_at_the_start(own_redis: LocalRedis, url: str, says: str) -> None:
    for make in (RedisStore.for_worker, RedisStore.for_coordinator):
        with pytest.raises(FatalError, match=says):
            make(RedisAddress(url.format(address=own_redis.address))).read(BANK_ID)


def test_a_port_where_nobody_listens_is_waited_for_and_named() -> None:
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1 is away"):
        RedisStore.for_worker(RedisAddress("redis://127.0.0.1:1/0")).read(BANK_ID)
