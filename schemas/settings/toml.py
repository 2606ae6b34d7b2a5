"""TOML as people's editors save it: the only place that reads it."""

import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the same library under its old name
    import tomli as tomllib

_BYTE_ORDER_MARK = "\ufeff"
"""What some editors put before a text to say that it is UTF-8."""


def parsed_toml(text: str) -> dict[str, Any]:
    """The content of a file.

    Raises:
        ValueError: it is no TOML; the message says where.
    """
    try:
        return tomllib.loads(text.removeprefix(_BYTE_ORDER_MARK))
    except RecursionError:
        raise ValueError("its lists or tables lie too deep in one another") from None
