"""Frames on disk while the log is away: a ring of checksummed segments for each camera, bounded in bytes and in age."""
