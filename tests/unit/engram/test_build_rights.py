"""The rights of each role: what follows from the table, and the commands that give them."""

import json
import re
import shlex
from itertools import pairwise

import pytest
from typer.testing import CliRunner

from engram.build.adapters import sealed_by
from engram.build.rights import ROLES, Right, Role, acl_commands, rights_of
from engram.cli.app import app
from schemas.settings.connections import KafkaSection
from schemas.topics import TopicNames
from tests.architecture.repository import ROOT

KAFKA = KafkaSection(topic_prefix="site-a.")
NAMES = TopicNames.with_prefix("site-a.")


def who_may(operation: str, topic: str) -> set[Role]:
    return {
        role
        for role in ROLES
        for right in rights_of(role, KAFKA)
        if (right.resource, right.name) == ("topic", topic) and operation in right.operations
    }


@pytest.mark.parametrize(
    ("topic", "writers"),
    [
        (NAMES.frames, {"edge"}),
        (NAMES.frame_scores, {"worker"}),
        (NAMES.anomaly_events, {"worker"}),
        (NAMES.memory_updates, {"worker"}),
        (NAMES.camera_states, {"worker"}),
        (NAMES.memory_banks, {"coordinator"}),
        (NAMES.memory_events, {"coordinator"}),
        (NAMES.operator_verdicts, {"console"}),
        (NAMES.camera_status, {"edge"}),
        (NAMES.camera_events, {"edge"}),
        (NAMES.event_media, {"clips"}),
        (NAMES.dead_letters, {"worker", "coordinator", "notify"}),
    ],
)
def test_each_topic_is_written_by_those_alone_who_make_it(topic: str, writers: set[Role]) -> None:
    assert who_may("Write", topic) == writers


def test_pictures_are_read_by_those_alone_who_need_them() -> None:
    assert who_may("Read", NAMES.frames) == {"worker", "clips", "replay"}
    assert who_may("Read", NAMES.camera_states) == {"worker"}


def test_what_has_macs_is_written_by_the_role_of_the_key() -> None:
    for topic, role in sealed_by(KAFKA).items():
        assert who_may("Write", topic) == {role}


def test_every_right_is_under_the_prefix() -> None:
    assert all(right.name.startswith("site-a.") for role in ROLES for right in rights_of(role, KAFKA))
    assert all(right.operations for role in ROLES for right in rights_of(role, KAFKA))


def test_a_console_sees_how_far_the_workers_are_and_no_frame() -> None:
    kafka = KafkaSection(topic_prefix="site-a.", group="night-shift")
    rights = rights_of("console", kafka)
    assert Right("group", "night-shift", ("Describe",)) in rights
    assert Right("topic", NAMES.frames, ("Describe",)) in rights
    assert who_may("Describe", NAMES.frames) == who_may("Describe", NAMES.memory_updates) == {"console"}


def test_a_group_of_ones_own_is_the_workers() -> None:
    kafka = KafkaSection(topic_prefix="site-a.", group="night-shift")
    assert Right("group", "night-shift", ("Read",)) in rights_of("worker", kafka)
    assert Right("transactional-id", "site-a.frames/", ("Write",), is_prefix=True) in rights_of("worker", kafka)


def test_commands_give_each_right_once_and_can_be_pasted() -> None:
    rights = rights_of("worker", KAFKA)
    given = []
    for line in acl_commands(rights, "ann o'worker", "a:1,b:2"):
        words = shlex.split(line)
        assert words[:3] == ["kafka-acls.sh", "--bootstrap-server", "a:1,b:2"]
        assert words[words.index("--allow-principal") + 1] == "User:ann o'worker"
        pairs = list(pairwise(words))
        operations = tuple(value for flag, value in pairs if flag == "--operation")
        is_prefix = ("--resource-pattern-type", "prefixed") in pairs
        given += [
            (flag.removeprefix("--"), value, operations, is_prefix)
            for flag, value in pairs
            if flag in ("--topic", "--group", "--transactional-id")
        ]
    assert sorted(given) == sorted((one.resource, one.name, one.operations, one.is_prefix) for one in rights)


def test_the_command_prints_all_roles_or_one() -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["topics", "acls", "--topic-prefix", "site-a."]).stdout
    assert [line for line in shown.splitlines() if line.startswith("#")] == [f"# {role}" for role in ROLES]
    one = runner.invoke(app, ["topics", "acls", "--role", "edge", "--user", "box", "-o", "json"])
    assert {right["name"] for right in json.loads(one.stdout)["edge"]} == {"frames", "camera-status", "camera-events"}
    edge = runner.invoke(app, ["topics", "acls", "--role", "edge", "--user", "box"]).stdout
    assert "User:box" in edge
    assert runner.invoke(app, ["topics", "acls", "--user", "box"]).exit_code == 2


def test_the_rules_for_redis_are_printed_for_both_roles() -> None:
    shown = CliRunner().invoke(app, ["bank", "acls", "--key-prefix", "site-a"]).stdout.splitlines()
    worker, coordinator = (line.split() for line in shown)
    assert worker[:6] == ["ACL", "SETUSER", "engram-worker", "reset", "on", ">PASSWORD"]
    assert "%R~{site-a:*}:*" in worker
    assert "~{site-a:*}:*" in coordinator
    assert set(coordinator) - set(worker) >= {"+hset", "+evalsha", "engram-coordinator"}
    assert not {"+hset", "+set", "+evalsha", "+@all"} & set(worker)


def test_the_document_says_what_the_table_has() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    rows = page.partition("| Role | Writes | Reads |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[re.findall(r"`([a-z -]+)`", cell) for cell in row.split("|")[1:4]] for row in rows]
    assert [role[0] for role, _, _ in cells] == list(ROLES)
    for role, (_, writes, reads) in zip(ROLES, cells, strict=True):
        if role == "operator":
            continue
        rights = [right for right in rights_of(role, KafkaSection()) if right.resource == "topic"]
        assert set(writes) == {right.name for right in rights if "Write" in right.operations}, role
        assert set(reads) == {right.name for right in rights if "Read" in right.operations}, role
