"""The neural networks: pure torch, no files, no wires, no numpy.

One file per family (``mnad``), shared layers in ``blocks``, the external memory in ``memory``, what is computed from a
prediction in ``losses`` and ``measures``. ``registry`` maps a bundle's model name to its network.
"""
