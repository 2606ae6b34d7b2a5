"""From frames and a bank to measures and a score: decoding, the network on a backend, motion, the live score.

Knows nothing of topics, stores or events. Workers, training and benchmarks all score through this package, so what is
calibrated is what runs.
"""
