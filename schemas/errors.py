"""The error tree, named by what a loop does with an error, not by where it came from."""


class EngramError(Exception):
    """Root of every error that Engram raises on purpose."""


class TransientError(EngramError):
    """The world is briefly wrong (broker, store or camera away): try again with backoff."""


class MisdirectedError(TransientError):
    """An address leads nowhere: a name that nobody knows, or a broker that tells clients to use such a one.

    It heals when a name is registered late, and else only by another setting: try again, but not for long.
    """


class StaleVersionError(TransientError):
    """A compare-and-set lost: the bank has moved on. Read it again, then decide."""


class OwnershipLostError(TransientError):
    """The partition or the lease belongs to somebody else by now: drop the work in hand and rewind."""


class BadMessageError(EngramError):
    """This one record can never be handled: send it to the dead letters and go on.

    Attributes:
        reason: short machine-readable cause, used in the dead-letter header and as a metric label.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class FatalError(EngramError):
    """Going on makes no sense (settings, bundle, shapes): stop with exit code 2 and say what to do."""


class DamagedError(FatalError):
    """What a store or a file holds is not what was written there."""


class SettingsError(FatalError):
    """A setting is unknown, missing or out of range."""


class BundleError(FatalError):
    """A bundle is incomplete, tampered with, or does not fit the bank."""


class BufferFullError(TransientError):
    """The bytes in flight are at their bound: wait, drop, or spool, as the caller's policy says."""
