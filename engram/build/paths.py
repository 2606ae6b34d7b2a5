"""Where files of this user lie."""

import os
from pathlib import Path

from platformdirs import user_data_path


def data_file(name: str) -> Path:
    """``name`` in ``$ENGRAM_HOME``, or in the user's data folder when that is not set."""
    home = os.environ.get("ENGRAM_HOME")
    return (Path(home).absolute() if home else user_data_path("engram")) / name
