"""The in-process adapter of ``messaging.ports``: a whole Engram on one machine without Kafka. Twin of ``kafka``."""
