"""Reference readers of what workers publish: events, scores, and pictures made of both."""
