"""Footage to learn from and to be judged on: layouts, decoding, cache, clips, labels."""
