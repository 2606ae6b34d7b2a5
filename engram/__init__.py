"""The command line and the wiring: the only package that knows all the others.

Nothing is imported here: ``python -m engram`` comes by before the path is set right, see ``__main__``.
"""
