"""Workers: read frames, hold them against the memory, publish scores, events and update proposals."""
