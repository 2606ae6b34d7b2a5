"""The scripts that Redis runs: each is one atomic step. Keys of one bank share a hash tag, so they lie in one slot."""

from importlib.resources import files


def script(name: str) -> str:
    """Text of ``<name>.lua``."""
    return files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
