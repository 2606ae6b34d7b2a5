"""What builds: from settings to the parts that a process is made of. Nothing else makes adapters."""
