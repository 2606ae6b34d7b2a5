"""Training and evaluation: from folders of normal video to a bundle, and from a bundle to figures.

Nobody imports this package but the command line. ``train.train`` makes a bundle, ``evaluate`` measures one.
"""
