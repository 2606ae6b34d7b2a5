"""Demonstrations on synthetic scenes whose truth is known: all in one process, or on a real Kafka and Redis."""
