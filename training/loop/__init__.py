"""The training loop: steps, state, checkpoints, several processes, what happens after the last step."""
