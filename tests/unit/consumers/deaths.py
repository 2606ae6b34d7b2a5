"""Consumers that die at any step, as tests need them: what a death takes, and what it leaves."""

from collections.abc import Sequence

from messaging.ports import Intake, Progress, Subscription


class Killed(BaseException):
    """The process is gone: none of its own ends are carried out."""


class Fate:
    """Counts the steps of a process that can die between any two.

    Attributes:
        left: steps that are left; None = it lives.
    """

    def __init__(self) -> None:
        self.left: int | None = None

    def step(self) -> None:
        """One more step."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Killed


class MortalMembership:
    """A membership whose owner may die before and after what it asks for."""

    def __init__(self, fate: Fate, inner: Subscription) -> None:
        self._fate = fate
        self._inner = inner

    def receive(self, max_records: int, timeout_s: float) -> Intake:
        self._fate.step()
        intake = self._inner.receive(max_records, timeout_s)
        self._fate.step()
        return intake

    def commit(self, progress: Sequence[Progress]) -> None:
        self._fate.step()
        self._inner.commit(progress)
        self._fate.step()

    def rewind(self) -> None:
        self._inner.rewind()

    def lag(self) -> int:
        return self._inner.lag()

    def abandon(self) -> None:
        self._inner.abandon()

    def close(self) -> None:
        self._inner.close()
