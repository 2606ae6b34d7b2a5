"""A server process that outlives the command that started it, found again through a file in its folder."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.local.wait import wait_until

_KILL_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """What the file says of a process.

    Attributes:
        pid: its process id.
        birth: when it started, as the system tells it; a pid alone may belong to somebody else by now.
        log_start_bytes: where its part of the log file begins.
    """

    pid: int
    birth: str
    log_start_bytes: int


class DetachedProcess:
    """One process: ``<folder>/<name>.pid.json`` remembers it, ``<folder>/<name>.log`` has its output."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.log_path = folder / f"{name}.log"
        self._record_path = folder / f"{name}.pid.json"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it lives, else None; a stale file counts as dead."""
        record = self._record()
        return record.pid if record is not None and birth_of(record.pid) == record.birth else None

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start ``command`` in a session of its own, so that no Ctrl-C of a terminal reaches it."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            log_start_bytes = log.tell()
            self._child = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=None if environment is None else {**os.environ, **environment},
            )
        pid = self._child.pid
        self._write(ProcessRecord(pid=pid, birth=birth_of(pid) or "", log_start_bytes=log_start_bytes))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it is dead."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, number)

    def stop(self, timeout_s: float) -> None:
        """End it: SIGTERM, after ``timeout_s`` SIGKILL. Returns when it is gone."""
        self.signal(signal.SIGCONT)  # a paused process would not see SIGTERM
        self.signal(signal.SIGTERM)
        if not wait_until(self._is_gone, timeout_s):
            self.kill()
        self._forget()

    def kill(self) -> None:
        """SIGKILL: no time to write anything. Returns when it is gone.

        Raises:
            TimeoutError: it is still there after ten seconds.
        """
        self.signal(signal.SIGKILL)
        if not wait_until(self._is_gone, _KILL_TIMEOUT_S):
            raise TimeoutError(f"{self.name} (pid {self.pid}) is still there {_KILL_TIMEOUT_S:.0f} s after SIGKILL")
        self._forget()

    def log(self) -> str:
        """What it has printed since its last start."""
        record = self._record()
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(record.log_start_bytes if record else 0)
            return log.read().decode(errors="replace")

    def log_tail(self, num_lines: int = 15) -> str:
        """The last lines of ``log``."""
        return "\n".join(self.log().strip().splitlines()[-num_lines:])

    def _is_gone(self) -> bool:
        if self._child is not None:
            self._child.poll()  # takes the exit code of our own child, else it stays as a zombie
        return self.pid is None

    def _record(self) -> ProcessRecord | None:
        try:
            return ProcessRecord(**json.loads(self._record_path.read_text()))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None

    def _write(self, record: ProcessRecord) -> None:
        self._record_path.write_text(json.dumps(asdict(record)))

    def _forget(self) -> None:
        self._child = None
        self._record_path.unlink(missing_ok=True)


def birth_of(pid: int) -> str | None:
    """When the living process ``pid`` started, in words only good for comparing; None for a dead one or a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()  # the name before ")" may contain anything
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] == "Z" else fields[19]
    listed = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, born = listed.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else born.strip()
