"""A password, a token or keys in a file: read anew when needed, so that they may change while a process runs."""

from pathlib import Path

from schemas.errors import SettingsError

MAX_BYTES = 64 * 1024


class CredentialFile:
    """What stands in a file now; what stood there last while it cannot be read, for it may just be replaced.

    Args:
        path: of the file.
        setting: that names it, for the error.

    Raises:
        SettingsError: it cannot be read at the start.
    """

    def __init__(self, path: Path, setting: str) -> None:
        self._path = path
        try:
            self._last = self._read()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise SettingsError(f"{setting} must name a readable text file, got '{path}': {reason}") from error

    def __repr__(self) -> str:
        """Without what it holds."""
        return f"CredentialFile({str(self._path)!r})"

    def now(self) -> str:
        """Its text, without the end of the last line."""
        try:
            self._last = self._read() or self._last
        except (OSError, UnicodeDecodeError):
            return self._last
        return self._last

    def _read(self) -> str:
        with self._path.open("rb") as file:
            return file.read(MAX_BYTES).decode("utf-8").rstrip("\r\n")
