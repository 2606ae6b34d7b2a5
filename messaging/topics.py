"""What both adapters demand of topics, in one place so that they refuse the same things with the same words."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from urllib.parse import quote

from messaging.ports import TopicSpec
from schemas.errors import FatalError


def check_partitions(spec: TopicSpec, existing: int) -> None:
    """A topic that exists must have the number of partitions asked for.

    Raises:
        FatalError: it has another one; keys would move, and with them the order per camera.
    """
    if existing != spec.partitions:
        raise FatalError(
            f"topic '{spec.name}' must have {spec.partitions} partitions, it has {existing}; "
            f"set the number in the settings to {existing}, or grow them all (`engram topics grow N`)"
        )


def check_group(group: str) -> None:
    """A group is found again by its name.

    Raises:
        FatalError: it has none, or one that brokers and their tools do not take.
    """
    if not group.strip() or not group.isprintable():
        raise FatalError(f"a consumer group must have a name of printable letters, got {group!r:.80}")


def check_places(wanted: Iterable[tuple[str, int]], there: Collection[tuple[str, int]]) -> None:
    """Whoever goes on at a place must know one that there is.

    Raises:
        FatalError: a topic or partition that is not read.
    """
    if unknown := sorted(set(wanted) - set(there)):
        names = ", ".join(f"{topic}/{partition}" for topic, partition in unknown)
        has = ", ".join(f"{topic}/{partition}" for topic, partition in sorted(there))
        raise FatalError(f"a place in the log must be in a partition that is read, {names} is not; there are {has}")


def check_state_topic(name: str, partitions: int, subscribed: Mapping[str, int]) -> None:
    """A state topic needs one subscribed topic with as many partitions.

    Args:
        name: the state topic.
        partitions: how many it has.
        subscribed: the subscribed topics and their partitions.

    Raises:
        FatalError: several topics are subscribed, or the numbers differ.
    """
    if list(subscribed.values()) != [partitions]:
        raise FatalError(
            f"state topic '{name}' must have as many partitions as the single subscribed topic, "
            f"it has {partitions} and subscribed are {dict(subscribed)}; "
            f"`engram topics grow {max([partitions, *subscribed.values()])}` makes them equal"
        )


def writer_scope(topics: Sequence[str], group: str) -> str:
    """Within which a writer's id must be its own: sites on one broker may both have a ``worker-0``.

    The topics' prefix comes first, as the broker's access rules go by prefix; the parts cannot run into each other.
    """
    return f"{'+'.join(topics)}/{quote(group, safe='')}"
