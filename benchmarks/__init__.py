"""One command per figure of the README: ``python -m benchmarks NAME``; without a name, all of them.

Absolute times are this machine's; what to compare is the ratio to the baseline that ran interleaved in the same call.
"""
