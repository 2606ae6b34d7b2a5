"""What a memory is worth, measured: one network, several scenes, and memories that are theirs or not."""
