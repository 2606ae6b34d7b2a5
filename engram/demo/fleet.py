"""Engram's own processes as children, each with its log file; none outlives the demo."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from schemas.errors import EngramError

END_TIMEOUT_S = 180.0
LOOK_S = 0.2
LOG_TAIL_LINES = 12


class Fleet:
    """Child processes by name; a context manager that ends all of them, first gently, then not.

    Args:
        folder: where ``NAME.log`` files go; made when absent.
        environment: added to that of this process.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Start ``engram ARGUMENTS`` as child ``name``."""
        with self.log_path(name).open("wb") as log:
            self._children[name] = subprocess.Popen(
                [sys.executable, "-m", "engram", *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log_path(self, name: str) -> Path:
        """Where the child writes."""
        return self._folder / f"{name}.log"

    def pid(self, name: str) -> int:
        """Its process id, also once it has ended."""
        return self._children[name].pid

    def exit_code(self, name: str) -> int | None:
        """None while it runs."""
        return self._children[name].poll()

    def wait(self, name: str, timeout_s: float) -> int:
        """The exit code, once it has ended by itself.

        Raises:
            EngramError: it has not by the deadline.
        """
        try:
            return self._children[name].wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise EngramError(f"{name} must end within {timeout_s:.0f} s; {self.told(name)}") from error

    def kill(self, name: str) -> None:
        """SIGKILL: no drain, no goodbye."""
        self._children[name].kill()
        self._children[name].wait(END_TIMEOUT_S)

    def pause(self, name: str) -> None:
        """SIGSTOP: it lives and does nothing, not even say that it lives."""
        self._children[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self._children[name].send_signal(signal.SIGCONT)

    def end(self, names: Sequence[str]) -> Mapping[str, int]:
        """SIGTERM to all of ``names`` that run, then wait; exit codes. Whoever stays past the deadline is killed."""
        for name in names:
            if self.exit_code(name) is None:
                self._children[name].send_signal(signal.SIGTERM)
        return {name: self._waited(name) for name in names}

    def require_running(self, names: Sequence[str]) -> None:
        """Raise, with the end of its log, if one of ``names`` has ended by itself.

        Raises:
            EngramError: one has.
        """
        for name in names:
            code = self.exit_code(name)
            if code is not None:
                raise EngramError(f"{name} must run, it has ended with {code}; {self.told(name)}")

    def wait_until_logged(self, names: Sequence[str], words: str, deadline_s: float) -> None:
        """Wait until the log of each of ``names`` holds ``words``.

        Raises:
            EngramError: one has ended, or has not said it by the deadline.
        """
        until_s = time.monotonic() + deadline_s
        while silent := [name for name in names if words not in self.log_path(name).read_text("utf-8", "replace")]:
            self.require_running(names)
            if time.monotonic() > until_s:
                raise EngramError(f"{silent[0]} must say '{words}' within {deadline_s:.0f} s; {self.told(silent[0])}")
            time.sleep(LOOK_S)

    def told(self, name: str) -> str:
        """The end of the child's log."""
        lines = self.log_path(name).read_text("utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join([f"the end of {self.log_path(name)}:", *(f"  {line}" for line in lines)])

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(list(self._children))

    def _waited(self, name: str) -> int:
        child = self._children[name]
        try:
            return child.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait(END_TIMEOUT_S)
