"""Items to start from: at random, as published, or the centres of what an encoder makes of normal video.

Dimensions: B samples, N places, M items, C channels.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from networks.blocks import channels_last
from networks.memory import MIN_LENGTH
from networks.mnad import MnadOutcome
from schemas.arrays import Int64
from schemas.errors import SettingsError
from training.footage.clip_stream import Stream
from training.loop.state import TrainingState
from training.loop.stepping import unit_clips

MOST_WARM_UP_STEPS = 200
WARM_UP_SHARE = 0.1
NUM_CLIPS = 64
NUM_QUERIES = 20_000


def warm_up_steps(total: int) -> int:
    """Steps with random items, after which the encoder's queries mean enough to be clustered."""
    return min(MOST_WARM_UP_STEPS, round(WARM_UP_SHARE * total))


def clustered_items(state: TrainingState, stream: Stream, starts: Int64, seed: int) -> Tensor:
    """Centres of the queries of training clips, unit length, (M, C).

    Args:
        state: network after the warm-up, and the items it has.
        stream: of clips.
        starts: first frames of the training clips, of which some are taken, evenly spaced.
        seed: of the clustering.

    Raises:
        SettingsError: the network has no bank.
    """
    if state.items_MC is None:
        text = f"items can start from clusters where a network has a bank, '{state.network.name}' has none"
        raise SettingsError(f"{text}; leave out --items")
    chosen = starts[np.linspace(0, len(starts) - 1, min(len(starts), NUM_CLIPS)).round().astype(int)]
    queries_NC = torch.cat(list(_queries(state, stream, chosen)))
    picked = torch.linspace(0, len(queries_NC) - 1, min(len(queries_NC), NUM_QUERIES)).round().long()
    clusters = MiniBatchKMeans(len(state.items_MC), random_state=seed, n_init=3)
    centres_MC = torch.from_numpy(clusters.fit(queries_NC[picked].numpy()).cluster_centers_)
    return F.normalize(centres_MC, dim=1, eps=MIN_LENGTH).to(state.items_MC)


@torch.no_grad()
def _queries(state: TrainingState, stream: Stream, starts: Int64) -> Iterator[Tensor]:
    """Unit length, (N, C), clip by clip."""
    network = state.network.eval()
    for clips_BTHWK in stream(iter(starts[:, None])):
        inputs, _ = network.split(unit_clips(clips_BTHWK, network))
        outcome = network(channels_last(inputs), state.items_MC)
        if isinstance(outcome, MnadOutcome) and outcome.reading is not None:
            yield outcome.reading.queries_BCN.mT.flatten(0, 1).float().cpu()
