"""What crosses a process boundary: messages, settings, the codec, the error tree. Imports nothing of ours."""
