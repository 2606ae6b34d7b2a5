"""The neural networks: pure torch, no files, no wires, no numpy.

One file per family (``mnad``, ``memae``, ``mpn``) and one line in ``registry``; ``network`` is the contract that all of
them fulfil. Shared layers are in ``blocks``, memories in ``memory`` (MNAD's, outside the network) and ``sparse_memory``
(MemAE's, trained), what is computed from an image in ``measures``. ``meta`` adapts MPN to a camera.
"""
