"""What a new owner makes of the states that it is handed with a partition, and what it says of them."""

import logging
from collections.abc import Mapping
from datetime import datetime

from messaging.ports import Assigned
from schemas.errors import BadMessageError
from workers.camera import CameraState, decode_states

log = logging.getLogger(__name__)

NAMES_TOLD = 5


def inherited(assigned: Assigned, now: datetime) -> tuple[Mapping[str, CameraState], Mapping[str, BadMessageError]]:
    """The states of a partition's cameras by id, and why the others start anew.

    Args:
        assigned: the partition.
        now: wall clock.
    """
    states, unreadable = decode_states(assigned.states, assigned.committed_offset, now)
    for camera_id, error in unreadable.items():
        log.warning("%s", error, extra={"camera": camera_id, "partition": assigned.claim.partition})
    _tell_ahead(assigned, states)
    _tell_doubted(assigned)
    return states, unreadable


def _tell_ahead(assigned: Assigned, states: Mapping[str, CameraState]) -> None:
    """One line, however many there are."""
    offsets = [state.offset for state in states.values() if state.offset is not None]
    if max(offsets, default=-1) >= assigned.committed_offset:
        log.warning(
            "partition %d: the position that was committed, %d, is behind what states of cameras account for, %d;"
            " a broker that is killed may lose it. What they account for is not handled again",
            assigned.claim.partition,
            assigned.committed_offset,
            max(offsets),
            extra={"partition": assigned.claim.partition},
        )


def _tell_doubted(assigned: Assigned) -> None:
    """One line, however many there are: anybody can make them up."""
    if not assigned.doubted:
        return
    number, names = assigned.claim.partition, sorted(assigned.doubted)
    log.warning(
        "partition %d: %d states have no MAC by a key that this worker holds (bad_state), their cameras start anew: %s",
        number,
        len(names),
        ", ".join(f"{name:.64}" for name in names[:NAMES_TOLD]) + (", …" if len(names) > NAMES_TOLD else ""),
        extra={"partition": number},
    )
