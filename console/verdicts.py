"""What people said of events and what came of it; and how a verdict is made of an event."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime

from console.kept import Ledger, Row
from consumers.verdicts import Statement, new_verdict_id, verdict_on
from schemas.codec import encode_message
from schemas.messages import AnomalyEvent
from schemas.verdicts import OperatorVerdict, Scope, VerdictOutcome

MAX_VERDICTS = 20_000
MAX_PER_EVENT = 50


@dataclass(frozen=True, slots=True)
class Said:
    """A verdict as it is shown, and what came of it; None = nothing yet."""

    verdict: OperatorVerdict
    outcome: VerdictOutcome | None


class VerdictBook:
    """Verdicts by event and outcomes by verdict, bounded: what was said first goes first. Not thread-safe."""

    def __init__(self, ledger: Ledger, max_verdicts: int = MAX_VERDICTS) -> None:
        self._ledger = ledger
        self._max_verdicts = max_verdicts
        self._verdicts: OrderedDict[str, OperatorVerdict] = OrderedDict()
        self._by_event: dict[str, list[str]] = {}
        self._outcomes: OrderedDict[str, VerdictOutcome] = OrderedDict()

    def take_verdict(self, verdict: OperatorVerdict) -> bool:
        """Something was said, here or elsewhere; whether it is news."""
        if verdict.verdict_id in self._verdicts:
            return False
        bare = verdict.model_copy(
            update={"trace": None, "extents": (), "regions": ()}
        )  # kept to be shown, not to be applied
        self._verdicts[bare.verdict_id] = bare
        said = self._by_event.setdefault(bare.event_id, [])
        said.append(bare.verdict_id)
        at_ms = int(bare.given_at.timestamp() * 1000)
        self._ledger.put(Row("verdict", bare.verdict_id, at_ms, encode_message(bare)))
        if len(said) > MAX_PER_EVENT:
            self._drop(said[0])
        elif len(self._verdicts) > self._max_verdicts:
            self._drop(next(iter(self._verdicts)))
        return True

    def take_outcome(self, outcome: VerdictOutcome) -> bool:
        """What came of a verdict, which may be heard of later; whether it is news."""
        if self._outcomes.get(outcome.verdict_id) == outcome:
            return False
        self._outcomes[outcome.verdict_id] = outcome
        at_ms = int(outcome.decided_at.timestamp() * 1000)
        self._ledger.put(Row("outcome", outcome.verdict_id, at_ms, encode_message(outcome)))
        if len(self._outcomes) > self._max_verdicts:
            self._ledger.drop("outcome", self._outcomes.popitem(last=False)[0])
        return True

    def of(self, event_id: str) -> list[Said]:
        """All that was said of an event, oldest first."""
        found = [self._verdicts[verdict_id] for verdict_id in self._by_event.get(event_id, ())]
        found.sort(key=lambda verdict: (verdict.given_at, verdict.verdict_id))
        return [Said(verdict, self._outcomes.get(verdict.verdict_id)) for verdict in found]

    def holding(self, event_id: str, now: datetime) -> Said | None:
        """What holds of an event: the verdict given last, unless that is an undo or has expired."""
        said = self.of(event_id)
        if not said or said[-1].verdict.judgement == "undo":
            return None
        expires_at = said[-1].verdict.expires_at
        return None if expires_at is not None and expires_at <= now else said[-1]

    def __len__(self) -> int:
        return len(self._verdicts)

    def _drop(self, verdict_id: str) -> None:
        verdict = self._verdicts.pop(verdict_id)
        said = self._by_event[verdict.event_id]
        said.remove(verdict_id)
        if not said:
            del self._by_event[verdict.event_id]
        self._ledger.drop("verdict", verdict_id)
        if self._outcomes.pop(verdict_id, None) is not None:
            self._ledger.drop("outcome", verdict_id)


def verdict_of(event: AnomalyEvent, said: Statement, given_at: datetime) -> OperatorVerdict:
    """The verdict on the topic; of one that teaches or guards, with what the event looked like.

    Raises:
        SettingsError: nothing can be said of such an event, or not so.
    """
    where: Scope = said.scope if said.judgement == "normal" else "place"
    return verdict_on(event.data, replace(said, scope=where), given_at, new_verdict_id())
