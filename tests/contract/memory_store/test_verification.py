"""Whoever changes a bank or its log behind the store's back is found, in every store."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from memory_store.bank import AuditEntry, Bank, entry_for, to_wire
from memory_store.interventions import Signature, newest_sound, roll_back
from memory_store.store import BankStore, Standing
from memory_store.stores.redis import RedisStore
from memory_store.stores.sqlite import SqliteStore
from memory_store.verification import verify
from schemas.codec import encode_items, encode_message
from schemas.errors import DamagedError, FatalError, TransientError
from tests.contract.memory_store.banks import KEPT, NOW, change, commit_next, first_bank, items, leased
from tests.unit.memory_store.proposals import FREEZE, THAW

BY = Signature("ann@edge7", "", NOW)


class Rogue:
    """Somebody who can write the store and knows its insides."""

    def __init__(self, store: BankStore) -> None:
        self._store = store

    def sql(self, statement: str, *values: object) -> None:
        assert isinstance(self._store, SqliteStore)
        with self._store._transaction() as cursor:
            cursor.execute(statement, values)

    def hash_set(self, part: str, **fields: bytes | str) -> None:
        assert isinstance(self._store, RedisStore)
        for name, value in fields.items():
            self._store._client.hset(self._store._key("lobby", part), name, value)

    @property
    def is_redis(self) -> bool:
        return isinstance(self._store, RedisStore)

    def rewrite_log(self, rewritten: Callable[[list[str]], Sequence[str]]) -> None:
        texts = rewritten([entry.to_text() for entry in self._store.log("lobby", 10_000)])
        if isinstance(self._store, RedisStore):
            client, key = self._store._client, self._store._key("lobby", "log")
            client.delete(key)
            for text in texts:
                client.xadd(key, {"entry": text})
            return
        self.sql("DELETE FROM log WHERE bank_id = 'lobby'")
        for text in texts:
            self.sql("INSERT INTO log (bank_id, entry) VALUES ('lobby', ?)", text)

    def put_version(self, bank: Bank, items_: bytes | None = None) -> None:
        """Header and items of a version, the header of items that are sound."""
        header, sound = to_wire(bank, entry_for(bank, change("x"), None, None))
        text, value = encode_message(header), sound if items_ is None else items_
        if self.is_redis:
            self.hash_set("v", **{f"{bank.version}:header": text, f"{bank.version}:items": value})
        else:
            statement = "UPDATE version SET header = ?, items = ? WHERE bank_id = 'lobby' AND version = ?"
            self.sql(statement, text, value, bank.version)

    def put_newest(self, bank: Bank, items_: bytes | None = None) -> None:
        header, sound = to_wire(bank, entry_for(bank, change("x"), None, None))
        text, value = encode_message(header), sound if items_ is None else items_
        if self.is_redis:
            self.hash_set("h", header=text, items=value)
        else:
            self.sql("UPDATE bank SET header = ?, items = ? WHERE bank_id = 'lobby'", text, value)

    def set_frozen(self) -> None:
        if self.is_redis:
            self.hash_set("h", frozen="1")
        else:
            self.sql("UPDATE bank SET frozen = 1 WHERE bank_id = 'lobby'")


@pytest.fixture
def taught(store: BankStore, lobby: Bank) -> list[Bank]:
    """Bank 'lobby' at version 3, frozen and thawed on the way; all its versions."""
    lease = leased(store, "lobby")
    banks = [lobby, commit_next(store, lease, 1)[0]]
    store.freeze("lobby", *FREEZE)
    store.unfreeze("lobby", *THAW)
    return banks + [commit_next(store, lease, seed)[0] for seed in (2, 3)]


@pytest.fixture
def rogue(store: BankStore, taught: list[Bank]) -> Rogue:
    return Rogue(store)


def test_a_bank_that_nobody_touched_is_what_its_log_says(store: BankStore, taught: list[Bank]) -> None:
    found = verify(store, "lobby")
    assert (found.bank_id, found.num_entries, found.is_from_start) == ("lobby", 6, True)
    assert (found.versions, found.faults) == ((0, 1, 2, 3), ())
    assert found.head == store.log("lobby")[-1].digest_of_entry()


def test_a_log_of_which_the_first_entries_are_no_longer_there_is_whole_and_says_so(
    store: BankStore, rogue: Rogue
) -> None:
    rogue.rewrite_log(lambda texts: texts[3:])
    found = verify(store, "lobby")
    assert (found.num_entries, found.is_from_start, found.faults) == (3, False, ())
    rogue.rewrite_log(lambda texts: texts[1:])  # without the thaw: nothing is known of it any more
    assert verify(store, "lobby").faults == ()


def test_versions_that_are_no_longer_kept_are_no_fault(store: BankStore, taught: list[Bank]) -> None:
    lease = leased(store, "lobby")
    for seed in range(4, 4 + KEPT):
        commit_next(store, lease, seed)
    found = verify(store, "lobby")
    assert (len(found.versions), found.faults) == (KEPT, ())


def by_another(text: str) -> str:
    content = json.loads(text) | {"author": "mallory"}
    return json.dumps(content)


@pytest.mark.parametrize(
    ("rewritten", "says"),
    [
        (lambda texts: [*texts[:1], by_another(texts[1]), *texts[2:]], "entry 3 of 6 (v1, freeze by ann"),
        (lambda texts: [*texts[:2], by_another(texts[2]), *texts[3:]], "entry 4 of 6 (v1, thaw by ann"),
        (lambda texts: [*texts[:2], *texts[4:]], "entry 3 of 4 (v2, update by c1"),
        (lambda texts: [*texts[:4], texts[5], texts[4]], "entry 5 of 6 (v3, update by c1"),
        (lambda texts: [*texts[:5], by_another(texts[5])], "newest entry (v3, update by mallory"),
        (lambda texts: texts[:5], "newest entry (v2, update by c1"),
        (lambda texts: [*texts[:3], "{}", *texts[3:]], "row 4 of 7 of the log: an audit entry must have all"),
        (lambda texts: [*texts[:3], "no json", *texts[3:]], "row 4 of 7 of the log: an audit entry must be JSON"),
        (lambda texts: [], "the log is empty"),
    ],
)
def test_a_log_that_was_changed_is_found_and_the_place_is_named(
    store: BankStore, rogue: Rogue, rewritten: Callable[[list[str]], list[str]], says: str
) -> None:
    rogue.rewrite_log(rewritten)
    assert says in verify(store, "lobby").faults[0]


def test_a_row_that_is_no_entry_hides_no_other(store: BankStore, rogue: Rogue) -> None:
    entries = store.log("lobby")
    rogue.rewrite_log(lambda texts: ["no json", *texts[:3], "{}", *texts[3:], "[]"])
    assert store.log("lobby") == entries
    assert store.log("lobby", 2) == entries[-1:], "of the newest two rows one is none"
    rows = [row if isinstance(row, str) else row.decode() for row in store.log_rows("lobby", 5)]
    assert rows == [entries[2].to_text(), "{}", *(entry.to_text() for entry in entries[3:]), "[]"][-5:]
    faults = verify(store, "lobby").faults
    assert [fault.split(":")[0] for fault in faults] == [f"row {number} of 9 of the log" for number in (1, 5, 9)]
    roll_back(store, "lobby", 1, BY)
    assert [entry.change.action for entry in store.log("lobby")][-1] == "rollback"


def test_a_log_written_anew_from_the_start_does_not_end_at_the_head(store: BankStore, rogue: Rogue) -> None:
    def relinked(texts: list[str]) -> list[str]:
        entries: list[AuditEntry] = []
        for text in [by_another(texts[0]), *texts[1:]]:
            content = json.loads(text)
            if entries:
                content["previous_entry"] = entries[-1].digest_of_entry()
            entries.append(AuditEntry.from_json(content))
        return [entry.to_text() for entry in entries]

    rogue.rewrite_log(relinked)
    (fault,) = verify(store, "lobby").faults
    assert "is not the one that the bank names" in fault


def test_items_that_fail_their_digest_are_found(store: BankStore, rogue: Rogue, taught: list[Bank]) -> None:
    rogue.put_version(taught[1], encode_items(items(9)))
    (fault,) = verify(store, "lobby").faults
    assert fault.startswith("v1: ")
    assert "fails its digest" in fault
    rogue.put_newest(taught[3], encode_items(items(9)))
    faults = verify(store, "lobby").faults
    assert [fault.partition(":")[0] for fault in faults] == ["the newest version", "v1"]


@pytest.mark.parametrize("version", [1, 3])
def test_a_damaged_newest_version_is_gone_back_from_to_its_kept_copy_too(
    store: BankStore, rogue: Rogue, taught: list[Bank], version: int
) -> None:
    rogue.put_newest(taught[3], encode_items(items(9)))
    with pytest.raises(DamagedError, match="bank rollback"):
        store.read("lobby")
    bank = roll_back(store, "lobby", version, BY)
    assert (bank.version, bank.digest) == (4, taught[version].digest)
    assert verify(store, "lobby").faults == ()
    with pytest.raises(FatalError, match="must change the items"):
        roll_back(store, "lobby", 4, BY)


@pytest.mark.parametrize("is_frozen", [False, True])
def test_a_bank_whose_newest_versions_are_damaged_with_their_copies_is_gone_back_from(
    store: BankStore, rogue: Rogue, taught: list[Bank], is_frozen: bool
) -> None:
    if is_frozen:
        store.freeze("lobby", *FREEZE)
    rogue.put_newest(taught[3], encode_items(items(9)))
    for version in (2, 3):
        rogue.put_version(taught[version], encode_items(items(9)))
    assert newest_sound(store, "lobby").digest == taught[1].digest
    for version in (2, 3):
        with pytest.raises(DamagedError, match="fails its digest"):
            roll_back(store, "lobby", version, BY)
    bank = roll_back(store, "lobby", 1, BY)
    assert (bank.version, bank.digest, bank.frozen) == (4, taught[1].digest, is_frozen)
    found = store.read("lobby")
    assert found is not None
    assert (found.epoch, found.digest, found.frozen) == (bank.epoch, bank.digest, is_frozen)
    assert [fault.split(":")[0] for fault in verify(store, "lobby").faults] == ["v2", "v3"]


def test_what_is_noted_beside_a_bank_is_known_though_it_is_damaged(
    store: BankStore, rogue: Rogue, taught: list[Bank]
) -> None:
    rogue.put_newest(taught[3], encode_items(items(9)))
    assert store.standing("lobby") == Standing(3, taught[3].epoch, frozen=False)
    store.freeze("lobby", *FREEZE)
    assert store.standing("lobby") == Standing(3, taught[3].epoch, frozen=True)
    assert store.standing("dock") is None


def test_a_newest_version_without_a_header_is_gone_back_from(
    store: BankStore, rogue: Rogue, taught: list[Bank]
) -> None:
    if rogue.is_redis:
        rogue.hash_set("h", header="none")
    else:
        rogue.sql("UPDATE bank SET header = 'none' WHERE bank_id = 'lobby'")
    with pytest.raises(DamagedError):
        store.read("lobby")
    assert roll_back(store, "lobby", 2, BY).digest == taught[2].digest
    assert verify(store, "lobby").faults == ()


def test_a_newest_version_of_which_nothing_sound_is_kept_is_damaged(
    store: BankStore, rogue: Rogue, taught: list[Bank]
) -> None:
    rogue.put_newest(taught[3], encode_items(items(9)))
    for version in range(4):
        rogue.put_version(taught[version], encode_items(items(9)))
    for version in range(4):
        with pytest.raises(DamagedError):
            roll_back(store, "lobby", version, BY)


def test_items_with_a_digest_of_their_own_are_found_by_the_log(
    store: BankStore, rogue: Rogue, taught: list[Bank]
) -> None:
    planted = Bank("lobby", 1, taught[1].epoch, taught[1].bundle_digest, items(9), taught[1].committed_at)
    rogue.put_version(planted)
    (fault,) = verify(store, "lobby").faults
    assert fault.startswith(f"v1 has items {planted.digest[:12]}, its entry (v1, update by c1, ")
    assert fault.endswith(f"says {taught[1].digest[:12]}")


def test_newest_items_that_no_entry_wrote_are_found(store: BankStore, rogue: Rogue, taught: list[Bank]) -> None:
    planted = Bank("lobby", 3, taught[3].epoch, taught[3].bundle_digest, items(9), taught[3].committed_at)
    rogue.put_newest(planted)
    (fault,) = verify(store, "lobby").faults
    assert fault == f"no entry wrote the newest version, v3 with items {planted.digest[:12]}"


def test_a_time_to_learn_that_nobody_signed_is_found(store: BankStore, rogue: Rogue, taught: list[Bank]) -> None:
    rogue.put_version(replace(taught[1], learn_s=600.0))
    (fault,) = verify(store, "lobby").faults
    assert fault.startswith("v1 learns for 600.0 s, its entry (v1, update by c1, ")
    assert fault.endswith("says None s")
    rogue.put_version(taught[1])
    rogue.put_newest(replace(taught[3], learn_s=600.0))
    (fault,) = verify(store, "lobby").faults
    assert fault.startswith("v3 learns for 600.0 s, its entry (v3, update by c1, ")


def test_a_newest_version_that_is_not_kept_is_found(store: BankStore, rogue: Rogue) -> None:
    if rogue.is_redis:
        assert isinstance(store, RedisStore)
        store._client.hdel(store._key("lobby", "v"), "3:header", "3:items")
    else:
        rogue.sql("DELETE FROM version WHERE bank_id = 'lobby' AND version = 3")
    assert verify(store, "lobby").faults == ("the newest version, v3, is not among those kept",)


def test_a_freeze_that_nobody_signed_is_found(store: BankStore, rogue: Rogue) -> None:
    rogue.set_frozen()
    assert verify(store, "lobby").faults == ("the bank is frozen, its log says otherwise",)


def test_a_bank_that_is_not_there_is_named(store: BankStore) -> None:
    with pytest.raises(FatalError, match=r"bank 'lobby' must exist, the store has \[\]"):
        verify(store, "lobby")


def test_what_moves_while_it_is_looked_at_is_looked_at_again(store: BankStore, lobby: Bank) -> None:
    class Moving:
        """A store to which somebody commits between the log and the versions."""

        moves = 2

        def log_rows(self, bank_id: str, newest: int) -> Sequence[bytes | str]:
            rows = store.log_rows(bank_id, newest)
            if self.moves:
                self.moves -= 1
                commit_next(store, lease, 50 + self.moves)
            return rows

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

    lease, moving = leased(store, "lobby"), Moving()
    found = verify(moving, "lobby")  # type: ignore[arg-type]
    assert (found.faults, found.num_entries, moving.moves) == ((), 3, 0)
    moving.moves = 1000
    with pytest.raises(TransientError, match="freeze it first"):
        verify(moving, "lobby")  # type: ignore[arg-type]


def test_other_banks_are_not_looked_at(store: BankStore, rogue: Rogue) -> None:
    store.create(first_bank("dock", seed=4), change("create", "create"))
    rogue.rewrite_log(lambda texts: [])
    assert verify(store, "dock").faults == ()
