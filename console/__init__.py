"""The operator's console: reads topics into a bounded board, shows it as pages, and writes verdicts."""
