"""Publishing verdicts: the only thing that a console writes to the log."""

import threading

from messaging.ports import OutRecord, Publisher
from schemas.codec import encode_message
from schemas.errors import BufferFullError, TransientError
from schemas.verdicts import OperatorVerdict

ANSWER_S = 10.0


class Sayer:
    """Publishes one verdict at a time and waits until the log has it. From any thread.

    Args:
        topic: of verdicts, with prefix.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._publisher: Publisher | None = None

    def open(self, publisher: Publisher) -> None:
        """From now on there is a log to say it to; ``publisher`` belongs to its bus."""
        self._publisher = publisher

    def __call__(self, verdict: OperatorVerdict) -> None:
        """Publish it.

        Raises:
            TransientError: the log has not taken it; whether it still will is not known, which does no harm, as the
                verdict given last counts.
        """
        if self._publisher is None:
            raise TransientError("the log is not there yet, nothing was said; try again in a moment")
        answers: list[Exception | None] = []
        answered = threading.Event()

        def on_done(error: Exception | None) -> None:
            answers.append(error)
            answered.set()

        try:
            self._publisher.publish(OutRecord(self._topic, verdict.bank_id, encode_message(verdict)), on_done)
        except BufferFullError as error:
            raise TransientError(
                f"the log takes nothing now, nothing was said; try again in a moment: {error}"
            ) from error
        if not answered.wait(ANSWER_S):
            raise TransientError(
                f"the log has not answered within {ANSWER_S:.0f} s; look whether it is said, or say it again"
            )
        if answers[0] is not None:
            raise TransientError(f"the log did not take it, nothing was said: {answers[0]}") from answers[0]
