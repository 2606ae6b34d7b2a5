"""What a store makes of its client's errors: one idea for all stores, the words are each store's own.

| verdict | example | becomes |
|---|---|---|
| ``passing`` | server away, full, read-only after a fail-over | ``TransientError``, always |
| ``lasting`` | wrong password, authority or host | ``FatalError`` until a call has worked, then ``TransientError`` |
| ``forbidden`` | this user may not write | the same, but it is this very call that must have worked |
| ``broken`` | damaged file, a server that is too old | ``FatalError``, always |

What has worked once was set up rightly: somebody is changing it, and it will work again. At the start nobody is.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, Literal, ParamSpec, Protocol, TypeVar

from schemas.errors import EngramError, FatalError, TransientError

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What kind of trouble an error is, see above, and what to say about it."""

    kind: Literal["passing", "lasting", "forbidden", "broken"]
    text: str


class Translating(Protocol):
    """A store whose calls are translated.

    Attributes:
        proven: names of the calls that have worked.
    """

    proven: set[str]

    def judge(self, error: Exception, step: str) -> Verdict | None:
        """What ``error`` of the call ``step`` is; None if it is not the client's."""


S = TypeVar("S", bound=Translating)


def translated(call: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Turn the client's errors of a store's method into ours, once, at the edge."""
    step = call.__name__

    @functools.wraps(call)
    def translating(store: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            answer = call(store, *args, **kwargs)
        except EngramError:
            raise
        except Exception as error:
            verdict = store.judge(error, step)
            if verdict is None:
                raise
            raise _ours(verdict, step, store.proven) from error
        store.proven.add(step)
        return answer

    return translating


def _ours(verdict: Verdict, step: str, proven: set[str]) -> EngramError:
    worked = {"passing": True, "lasting": bool(proven), "forbidden": step in proven, "broken": False}
    return (TransientError if worked[verdict.kind] else FatalError)(verdict.text)
