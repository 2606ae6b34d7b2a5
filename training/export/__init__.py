"""From a bundle to exports of its network: traced once, written in each library's format, held against torch."""

import inference.backends  # noqa: F401 - before any library is imported that would report its use
