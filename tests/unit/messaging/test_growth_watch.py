"""Noticing that a topic has more partitions than before."""

from collections.abc import Mapping

import pytest
from kafka import TopicPartition

from deploy.local.wait import wait_until
from messaging.kafka.topics import GrowthWatch
from schemas.errors import FatalError, TransientError

ZERO, ONE = TopicPartition("t", 0), TopicPartition("t", 1)


class Cluster:
    """What ``GrowthWatch`` asks of ``KafkaTopics``: numbers of partitions that a test changes, or an error."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.counts = counts
        self.error: TransientError | None = None
        self.num_asked = 0

    def existing(self) -> Mapping[str, int]:
        self.num_asked += 1
        if self.error is not None:
            raise self.error
        return self.counts

    def is_asked_again(self) -> bool:
        """Twice more, so that an answer given from now on has been taken in."""
        wanted = self.num_asked + 2
        return wait_until(lambda: self.num_asked >= wanted, 20)


def watching(cluster: Cluster) -> GrowthWatch:
    return GrowthWatch(cluster, {"frames": 2, "states": 2}, every_s=0.005)  # type: ignore[arg-type]


def test_growth_is_told_with_the_topic_and_both_numbers() -> None:
    cluster = Cluster({"frames": 2, "states": 2, "other": 9})
    watch = watching(cluster)
    watch.check([])
    assert cluster.is_asked_again()
    watch.check([TopicPartition("frames", 1), TopicPartition("elsewhere", 7)])
    cluster.counts = {"frames": 2, "states": 5, "other": 10}
    assert cluster.is_asked_again()
    with pytest.raises(FatalError, match=r"start again. 'states' has 5 partitions now, it had 2 .*topics grow 5"):
        watch.check([])
    watch.close()


@pytest.mark.parametrize("counts", [{}, {"frames": 1, "states": 2}])
def test_a_topic_that_is_smaller_or_gone_is_no_growth(counts: Mapping[str, int]) -> None:
    cluster = Cluster(counts)
    watch = watching(cluster)
    watch.check([])
    assert cluster.is_asked_again()
    watch.check([])
    watch.close()


def test_a_broker_that_is_away_is_asked_again_and_what_it_said_before_holds() -> None:
    cluster = Cluster({"frames": 3, "states": 2})
    watch = watching(cluster)
    cluster.error = TransientError("away")
    watch.check([])
    assert cluster.is_asked_again()
    watch.check([])
    cluster.error = None
    assert cluster.is_asked_again()
    with pytest.raises(FatalError, match="'frames' has 3"):
        watch.check([])
    watch.close()
    asked = cluster.num_asked
    watch.close()  # once more does no harm
    assert cluster.num_asked == asked


def test_nobody_is_asked_before_the_first_check() -> None:
    cluster = Cluster({})
    watch = watching(cluster)
    watch.close()
    assert cluster.num_asked == 0


def test_a_partition_number_beyond_the_last_is_growth() -> None:
    watch = watching(Cluster({"frames": 2, "states": 2}))
    watch.check([TopicPartition("frames", 1)])
    with pytest.raises(FatalError, match="'frames' has 3 partitions now, it had 2"):
        watch.check([TopicPartition("frames", 2), TopicPartition("frames", 0)])
    watch.close()
