"""Ports to a partitioned log, and two adapters for them: Kafka and an in-process bus. Only importer of ``kafka``."""
