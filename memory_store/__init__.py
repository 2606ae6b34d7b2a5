"""The memory bank outside the network: items, proposals, gate, coordinator, stores. Only importer of ``redis``."""
