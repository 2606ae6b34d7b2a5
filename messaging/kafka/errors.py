"""kafka-python's errors, translated to ours once, here."""

from collections.abc import Iterator
from contextlib import contextmanager

from kafka import errors as kafka_errors

from schemas.errors import BadMessageError, EngramError, FatalError, OwnershipLostError, TransientError

_REFUSED = (
    kafka_errors.UnsupportedVersionError,
    kafka_errors.KafkaConfigurationError,
)
_RIGHTS = {
    kafka_errors.GroupAuthorizationFailedError: "Read on group",
    kafka_errors.TransactionalIdAuthorizationFailedError: "Write on transactional id",
    kafka_errors.ClusterAuthorizationFailedError: "a right on the cluster",
}
_WRITING = ("publishing", "committing as writer")
SEE_RIGHTS = "`engram topics acls` prints what each role needs"
_UNWELCOME = (kafka_errors.SaslAuthenticationFailedError, kafka_errors.UnsupportedSaslMechanismError)
_MOVED_ON = (
    kafka_errors.CommitFailedError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.UnknownMemberIdError,
    kafka_errors.FencedInstanceIdError,
    kafka_errors.RebalanceInProgressError,
)
_FENCED = (
    kafka_errors.ProducerFencedError,
    kafka_errors.InvalidProducerEpochError,
    kafka_errors.InvalidProducerIdMappingError,
    kafka_errors.InvalidTxnStateError,
)
_TOO_LARGE = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)


def is_fenced(error: BaseException) -> bool:
    """Whether another producer has taken over our transactional id, or the broker gave up our transaction."""
    return isinstance(error, _FENCED)


def translate(error: BaseException, doing: str) -> EngramError:
    """Our error for one of the client's, of a client that was made before: see ``diagnosis.reaching`` for the making.

    Args:
        error: what the client raised.
        doing: what we were about, for the message.
    """
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, kafka_errors.AuthorizationError):
        return FatalError(f"{doing}: this user lacks {_lacking(error, doing)} ({said}); {SEE_RIGHTS}")
    if isinstance(error, _REFUSED):
        return FatalError(f"{doing}: the broker refused ({said}); check the kafka settings and the rights of this user")
    if isinstance(error, _UNWELCOME):
        text = f"{doing}: the broker no longer lets us in ({said})"
        return TransientError(f"{text}; was the password changed? If so start again with the new one")
    if isinstance(error, _TOO_LARGE):
        return BadMessageError("too_large", f"{doing}: the record is larger than the topic takes ({said})")
    if isinstance(error, _MOVED_ON):
        return OwnershipLostError(f"{doing}: the group has moved on ({said}); rewind")
    if isinstance(error, _FENCED):
        return OwnershipLostError(f"{doing}: another writer took over, or the transaction timed out ({said}); rewind")
    return TransientError(f"{doing}: Kafka does not answer as it should ({said}); is it up? Trying again helps if so")


def _lacking(error: kafka_errors.AuthorizationError, doing: str) -> str:
    """The right, and what it is to; of topics the broker does not say which, but we know what we were about."""
    operation = "Write" if doing.startswith(_WRITING) else "Read"
    named = error.args[0] if error.args else ""
    names = ", ".join(sorted(map(str, named))) if isinstance(named, set | frozenset | list | tuple) else str(named)
    return f"{_RIGHTS.get(type(error), f'{operation} on topic')} '{names}'" if names else str(type(error).__name__)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise ours for whatever the client raises within."""
    try:
        yield
    except (kafka_errors.KafkaError, OSError) as error:
        raise translate(error, doing) from error
