"""The commands. Each module imports what is heavy, or needs an extra, only when its command runs."""
