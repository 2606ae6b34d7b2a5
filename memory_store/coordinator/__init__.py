"""The single writer of all banks: proposals in, guarded and gathered in rounds, new versions out.

``coordinator`` takes the lead, ``tenure`` works through one term of it, ``rounds`` and ``guards`` decide, ``settling``
merges, ``keeper`` writes.
"""
