"""Topics that are grown while members of a group are at work."""

import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress

import pytest
from kafka import TopicPartition

from deploy.local.kafka import LocalKafka
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.kafka.topics import GrowthWatch, KafkaTopics
from messaging.ports import TopicSpec
from schemas.errors import FatalError
from tests.integration.messaging.conftest import READY_S
from tests.integration.messaging.pipeline import Names, Worker, publish_frames, wait_for_scores

DEADLINE_S = 60.0
NUM_KEYS = 12
OLD, NEW = 4, 8

MakeBus = Callable[..., KafkaBus]


@pytest.fixture
def topics(kafka: LocalKafka) -> KafkaTopics:
    return KafkaTopics(KafkaConnection(kafka.bootstrap_servers), 1)


def failure_of(worker: Worker) -> FatalError:
    """What ends the worker, within the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            worker.step()
        except FatalError as error:
            with suppress(FatalError):
                worker.close()
            return error
    raise AssertionError(f"the worker went on for {DEADLINE_S} s")


@pytest.mark.parametrize("is_whole", [True, False], ids=["all-topics", "frames-alone"])
def test_members_end_with_a_clear_word_and_every_record_is_handled_after_the_restart(
    make_bus: MakeBus, names: Names, topics: KafkaTopics, is_whole: bool
) -> None:
    publish_frames(make_bus(), names, NUM_KEYS, range(1, 6))
    workers = [Worker(make_bus(), names, f"w{number}") for number in range(2)]
    errors: list[FatalError] = []
    threads = [threading.Thread(target=lambda w=worker: errors.append(failure_of(w))) for worker in workers]
    for thread in threads:
        thread.start()
    wait_for_scores(make_bus(), names, 5 * NUM_KEYS, DEADLINE_S)
    with closing(topics):
        topics.grow([names.states, names.frames] if is_whole else [names.frames], NEW)
        publish_frames(make_bus(), names, NUM_KEYS, range(6, 11))  # a new publisher spreads over all partitions
        for thread in threads:
            thread.join(DEADLINE_S)
        assert len(errors) == 2
        assert all("the topics were grown: start again" in str(error) for error in errors)
        if not is_whole:
            with pytest.raises(FatalError, match=f"it has {OLD} .*topics grow {NEW}"):
                make_bus().subscription([names.frames], names.group, names.states)
            assert topics.grow([names.states, names.frames], NEW) == [names.states]
    again = Worker(make_bus(), names, "w0")
    stop = threading.Event()
    thread = threading.Thread(target=again.run, args=(stop,))
    thread.start()
    scores = wait_for_scores(make_bus(), names, 10 * NUM_KEYS, DEADLINE_S)
    stop.set()
    thread.join(DEADLINE_S)
    numbers = {key: [int(score.split(":")[0]) for score in found] for key, found in scores.items()}
    assert {key: sorted(found) for key, found in numbers.items()} == {
        f"camera-{key}": list(range(1, 11)) for key in range(NUM_KEYS)
    }


def test_a_follower_ends_rather_than_miss_the_new_partitions(
    make_bus: MakeBus, names: Names, topics: KafkaTopics
) -> None:
    deadline = time.monotonic() + DEADLINE_S
    with closing(make_bus().reader([names.scores], from_beginning=False)) as reader, closing(topics):
        topics.grow([names.scores], NEW)
        with pytest.raises(FatalError, match="start again"):
            while time.monotonic() < deadline:
                reader.read(10, 0.1)


def test_a_partition_that_others_know_of_is_enough(topics: KafkaTopics) -> None:
    with closing(topics):
        watch = GrowthWatch(topics, {"frames": 2}, every_s=60)
        watch.check([TopicPartition("frames", 1)])
        with pytest.raises(FatalError, match="'frames' has 4 partitions now, it had 2"):
            watch.check([TopicPartition("frames", 3)])
        watch.close()


def test_growing_is_in_order_and_repeatable_and_never_backwards(
    topics: KafkaTopics, fresh_name: Callable[[str], str]
) -> None:
    first, second = fresh_name("a"), fresh_name("b")
    with closing(topics):
        topics.create([TopicSpec(first, 1), TopicSpec(second, 2)])
        assert topics.grow([first, second], 2) == [first]
        assert topics.grow([first, second], 3) == [first, second]
        assert topics.grow([first, second], 3) == []
        with pytest.raises(FatalError, match="can only grow"):
            topics.grow([first, second], 2)
        with pytest.raises(FatalError, match="must exist"):
            topics.grow([first, fresh_name("none")], 4)
        assert {topics.existing()[name] for name in (first, second)} == {3}


def test_a_broker_that_is_away_is_no_growth(kafka: LocalKafka, make_bus: MakeBus, names: Names) -> None:
    with closing(Worker(make_bus(), names, "w")) as worker:
        publish_frames(make_bus(), names, NUM_KEYS, range(1, 3))
        kafka.kill()
        worker.step()
        kafka.start()
        kafka.wait_ready(READY_S)
        deadline = time.monotonic() + 2 * DEADLINE_S
        while worker.num_commits == 0:
            worker.step()
            assert time.monotonic() < deadline
