"""What became of proposals, told as spans within the traces of the frames that they came of.

    process frame (worker) ─► decide proposal ─► commit bank

``decide proposal`` lasts from when a proposal was received until it is in a bank or refused, and so for its quarantine,
which is most of it; ``commit bank`` is the store's part. Spans are made when all is known, so that nothing is held
meanwhile, and none at all where nothing is traced.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from memory_store.coordinator.rounds import Held
from messaging.tracing import Attributes, Clock, Span, Tracer, lasting, stage

COMMITTED = "committed"


class ProposalSpans:
    """Of one coordinator.

    Args:
        tracer: where spans come from; None = there are none.
        clock: seconds, by which ``Held.received_at`` was taken.
        now_ns: the same moment in nanoseconds since 1970.
    """

    def __init__(self, tracer: Tracer | None, clock: Callable[[], float], now_ns: Clock = time.time_ns) -> None:
        self._tracer = tracer
        self._clock = clock
        self._now_ns = now_ns

    def refused(self, held: Held, reason: str) -> None:
        """A proposal has no effect."""
        if self._tracer is not None and (span := self._begin(self._tracer, held, reason)) is not None:
            span.end()

    def committing(self, accepted: Sequence[Held]) -> AbstractContextManager[None]:
        """What happens within writes these into their bank, or fails."""
        return nullcontext() if self._tracer is None else self._committing(self._tracer, accepted)

    @contextmanager
    def _committing(self, tracer: Tracer, accepted: Sequence[Held]) -> Iterator[None]:
        begun = [span for held in accepted if (span := self._begin(tracer, held, COMMITTED)) is not None]
        with lasting(begun), stage(tracer, "commit bank", (span.traceparent for span in begun)):
            yield

    def _begin(self, tracer: Tracer, held: Held, outcome: str) -> Span | None:
        if held.traceparent is None:
            return None
        attributes: Attributes = {
            "engram.bank": held.header.bank_id,
            "engram.camera": held.header.camera_id,
            "engram.frames": held.header.num_frames,
            "engram.outcome": outcome,
        }
        began_ns = self._now_ns() - int(max(0.0, self._clock() - held.received_at) * 1e9)
        return tracer.begin("decide proposal", "consumer", attributes, held.traceparent, began_ns)
