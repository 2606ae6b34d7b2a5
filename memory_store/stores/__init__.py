"""Where banks are kept: Redis for a fleet (only importer of ``redis``), SQLite for one machine."""
