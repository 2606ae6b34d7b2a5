"""A synthetic walkway: people who walk, and at known times something that does not belong there.

For the demo, for training without anybody's pictures, and for tests that know the truth frame by frame.
"""

from producers.synthetic.anomalies import KINDS, AnomalyOptions
from producers.synthetic.recording import write_video
from producers.synthetic.scene import SyntheticScene
from producers.synthetic.truth import Box, InjectedAnomaly, Truth

__all__ = ["KINDS", "AnomalyOptions", "Box", "InjectedAnomaly", "SyntheticScene", "Truth", "write_video"]
