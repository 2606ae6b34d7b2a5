"""What the doctor finds on a real Kafka and a real Redis, and that what it advises helps."""

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from redis import Redis
from typer.testing import CliRunner

from deploy.local.redis import LocalRedis
from engram.cli.app import app
from inference.backends import choose
from memory_store.stores.redis import reader_acl
from schemas.topics import TopicNames

runner = CliRunner(env={"COLUMNS": "250", "TERM": "dumb", "NO_COLOR": "1"})


@pytest.fixture
def look(settings: dict[str, str]) -> Callable[..., dict[str, Any]]:
    """``look("topics", ENGRAM_X="y")``: what the doctor says of one thing."""

    def diagnosis(name: str, *arguments: str, **more: str) -> dict[str, Any]:
        done = runner.invoke(app, ["doctor", "-o", "json", *arguments], env={**settings, **more})
        found: dict[str, dict[str, Any]] = {one["name"]: one for one in json.loads(done.stdout)}
        assert "unexpected" not in done.stdout
        assert "_UnwellError" not in done.stdout
        assert (done.exit_code == 0) == all(one["ok"] for one in found.values())
        return found[name]

    return diagnosis


@pytest.fixture
def topics(settings: dict[str, str]) -> None:
    assert runner.invoke(app, ["topics", "create"], env=settings).exit_code == 0


def follow(remedy: str, settings: dict[str, str]) -> None:
    """Call the command that a remedy begins with."""
    program, *arguments = shlex.split(remedy.partition(", or")[0])
    assert program == "engram"
    done = runner.invoke(app, arguments, env=settings)
    assert done.exit_code == 0, done.output


@pytest.mark.usefixtures("topics")
def test_all_well(look: Callable[..., dict[str, Any]]) -> None:
    for name in ("broker", "topics", "bundle"):
        found = look(name)
        assert (found["ok"], found["remedy"]) == (True, "")


def test_whether_records_have_macs_is_told(look: Callable[..., dict[str, Any]], settings: dict[str, str]) -> None:
    prefix = settings["ENGRAM_KAFKA__TOPIC_PREFIX"]
    assert look("macs")["detail"].startswith("no keys: frames, proposals, states and verdicts are believed")
    keys = f"edge new {'1f' * 32}; edge old {'2f' * 32}; console one {'3f' * 32}"
    keyed = look("macs", "-p", "worker", ENGRAM_KAFKA__MAC_KEYS=keys)
    told = f"{prefix}frames by new or old, {prefix}memory-updates not, {prefix}camera-states not"
    told += f", {prefix}operator-verdicts by one"
    assert (keyed["ok"], keyed["detail"]) == (True, f"records have MACs: {told}")
    broken = look("macs", ENGRAM_KAFKA__MAC_KEYS="edge new 1f")
    assert not broken["ok"]
    assert "line 1 of the keys must be a role" in broken["detail"]


def test_missing_topics_are_made_by_the_remedy(look: Callable[..., dict[str, Any]], settings: dict[str, str]) -> None:
    sick = look("topics")
    assert (sick["ok"], sick["remedy"]) == (False, "engram topics create")
    follow(sick["remedy"], settings)
    assert look("topics")["ok"]


@pytest.mark.usefixtures("topics")
def test_other_numbers_of_partitions_are_told_with_both(look: Callable[..., dict[str, Any]]) -> None:
    sick = look("topics", ENGRAM_KAFKA__FRAMES_PARTITIONS="3")
    assert not sick["ok"]
    assert "has 2 partitions, settings say 3" in sick["detail"]
    assert "kafka.frames_partitions" in sick["remedy"]


@pytest.mark.usefixtures("topics")
def test_a_topic_that_refuses_what_is_sent_is_mended_by_the_remedy(
    look: Callable[..., dict[str, Any]], settings: dict[str, str]
) -> None:
    larger = {"ENGRAM_PRODUCER__MAX_FRAME_BYTES": "800000"}
    sick = look("topics", **larger)
    assert not sick["ok"]
    assert "frames takes records of at most" in sick["detail"]
    follow(sick["remedy"], {**settings, **larger})
    assert look("topics", **larger) == {
        **sick,
        "ok": True,
        "detail": f"all {len(TopicNames.__slots__)} are there",
        "remedy": "",
    }


@pytest.mark.usefixtures("topics")
def test_another_retention_is_told_and_mended_by_the_remedy(
    look: Callable[..., dict[str, Any]], settings: dict[str, str]
) -> None:
    longer = {"ENGRAM_KAFKA__EVENTS_RETENTION_S": "5000000"}
    odd = look("topics", **longer)
    assert odd["ok"]
    assert "keeps records for 2592000 s, the settings say 5000000 s" in odd["detail"]
    follow(odd["remedy"], {**settings, **longer})
    assert look("topics", **longer)["remedy"] == ""


@pytest.mark.usefixtures("topics")
def test_a_limit_that_no_setting_speaks_of_is_told_with_whose_it_is(
    look: Callable[..., dict[str, Any]], settings: dict[str, str]
) -> None:
    scores = f"{settings['ENGRAM_KAFKA__TOPIC_PREFIX']}frame-scores"
    with closing(KafkaAdminClient(bootstrap_servers=settings["ENGRAM_KAFKA__BOOTSTRAP_SERVERS"])) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, scores, {"max.message.bytes": "1000"})])
    sick = look("topics")
    assert not sick["ok"]
    assert f"{scores} takes records of at most 1000 bytes" in sick["detail"]
    assert sick["remedy"].startswith(f"raise max.message.bytes of {scores}, or message.max.bytes of the brokers, to 1")


@pytest.fixture
def redis(own_redis: LocalRedis) -> Iterator[Redis]:
    with closing(Redis.from_url(own_redis.url)) as client:
        yield client


def test_a_redis_that_throws_banks_away_is_told_and_mended(
    look: Callable[..., dict[str, Any]], own_redis: LocalRedis, redis: Redis
) -> None:
    redis.config_set("maxmemory-policy", "allkeys-lru")
    odd = look("store", ENGRAM_STORE__URL=own_redis.url)
    assert odd["ok"]
    assert "allkeys-lru" in odd["detail"]
    _, *command = shlex.split(odd["remedy"].partition(" (")[0])
    redis.execute_command(*command)
    assert look("store", ENGRAM_STORE__URL=own_redis.url)["remedy"] == ""


def test_a_replica_is_no_store(look: Callable[..., dict[str, Any]], own_redis: LocalRedis, redis: Redis) -> None:
    redis.replicaof("127.0.0.1", "1")
    sick = look("store", ENGRAM_STORE__URL=own_redis.url)
    assert not sick["ok"]
    assert "replica" in sick["detail"]
    assert "primary" in sick["remedy"]


def test_a_user_who_may_only_read_suits_a_worker_and_no_coordinator(
    look: Callable[..., dict[str, Any]], own_redis: LocalRedis, redis: Redis, settings: dict[str, str]
) -> None:
    rules = reader_acl(settings["ENGRAM_STORE__KEY_PREFIX"]).split()
    redis.execute_command("ACL", "SETUSER", "reader", "on", ">secret", *rules)
    login = {
        "ENGRAM_STORE__URL": own_redis.url,
        "ENGRAM_STORE__USERNAME": "reader",
        "ENGRAM_STORE__PASSWORD": "secret",
    }
    assert look("store", "-p", "worker", **login)["ok"]
    assert not look("store", "-p", "coordinator", **login)["ok"]


@pytest.mark.parametrize("process", ["all", "worker"])
def test_a_bank_of_another_bundle_is_told_with_both(
    look: Callable[..., dict[str, Any]], tmp_path: Path, process: str
) -> None:
    """Each is sound by itself, and yet the worker would end at its first frame."""
    store = f"sqlite:///{tmp_path / 'banks.db'}"
    assert runner.invoke(app, ["bank", "create", "lobby", "--bundle", "walkway", "--store", store]).exit_code == 0
    fleet = {"ENGRAM_STORE__URL": store, "ENGRAM_MEMORY__BANK_ID": "lobby"}
    assert look("bundle", "-p", process, ENGRAM_WORKER__BUNDLE="walkway", **fleet)["ok"]
    sick = look("bundle", "-p", process, ENGRAM_WORKER__BUNDLE="anywhere", **fleet)
    assert (sick["ok"], "1 banks of the store are of another bundle: lobby of" in sick["detail"]) == (False, True)
    assert "worker.bundle" in sick["remedy"]
    other = look("bundle", ENGRAM_WORKER__BUNDLE="anywhere", **(fleet | {"ENGRAM_MEMORY__BANK_ID": "{camera_id}"}))
    assert (other["ok"], "worker.bundle" in other["remedy"]) == (True, True)


def test_the_lease_is_returned(look: Callable[..., dict[str, Any]], own_redis: LocalRedis, redis: Redis) -> None:
    assert look("store", ENGRAM_STORE__URL=own_redis.url)["ok"]
    assert look("store", ENGRAM_STORE__URL=own_redis.url)["ok"]
    assert not list(redis.scan_iter("*:lease"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_gpu_that_is_not_there(look: Callable[..., dict[str, Any]], device: str) -> None:
    sick = look("backend", "-p", "worker", ENGRAM_WORKER__DEVICE=device)
    assert not sick["ok"]
    assert f"worker.device '{device}' must be a GPU that is there" in sick["detail"]
    assert look("backend", "-p", "worker", ENGRAM_WORKER__DEVICE="auto")["ok"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_watching_on_a_gpu_that_is_not_there_ends_with_a_clear_word(settings: dict[str, str]) -> None:
    source = "synthetic://walkway?seed=1&seconds=1"
    done = runner.invoke(app, ["watch", source, "--device", "cuda"], env=settings)
    assert done.exit_code == 2
    assert "set it to auto or cpu" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_an_export_without_its_library(
    look: Callable[..., dict[str, Any]], bundle: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr(choose, "find_spec", lambda name: None)
    sick = look("backend", ENGRAM_WORKER__BACKEND=backend)
    assert not sick["ok"]
    assert "pip install" in sick["detail"]
    monkeypatch.setattr(choose, "_is_carried", lambda name, folder: name == backend)
    slow = look("backend", ENGRAM_WORKER__BACKEND="auto")
    assert slow["ok"]
    assert backend in slow["detail"]
    assert slow["remedy"].startswith("pip install 'engram[")


def test_a_broker_that_is_away_is_named(look: Callable[..., dict[str, Any]]) -> None:
    sick = look("broker", ENGRAM_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert "127.0.0.1:1 takes no connection" in sick["detail"]
    assert "engram stack up" in sick["remedy"]


def test_a_wrong_protocol_is_no_broker_to_be_started(look: Callable[..., dict[str, Any]]) -> None:
    sick = look("broker", ENGRAM_KAFKA__SECURITY_PROTOCOL="SSL")
    assert "speaks Kafka without TLS" in sick["detail"]
    assert sick["remedy"].startswith("set it to PLAINTEXT")
    assert look("broker", ENGRAM_KAFKA__SECURITY_PROTOCOL="PLAINTEXT")["ok"]
