"""Places on a map: connected, worst first, and boxed in shares of the image."""

import numpy as np

from inference.places import box_of, unusual_places


def test_places_are_connected_groups_worst_first() -> None:
    map_RS = np.zeros((4, 6), np.float32)
    map_RS[0, 0], map_RS[1, 1] = 0.6, 0.5  # connected over a corner
    map_RS[3, 4:6] = 1.0
    map_RS[0, 5] = 0.4  # below half of the worst
    found = unusual_places(map_RS)
    assert [np.argwhere(place).tolist() for place in found] == [[[3, 4], [3, 5]], [[0, 0], [1, 1]]]


def test_a_map_without_irregularity_has_no_place() -> None:
    assert unusual_places(np.zeros((2, 2), np.float32)) == []


def test_a_box_is_given_in_shares_of_the_image() -> None:
    place = np.zeros((4, 5), bool)
    place[1:3, 2:5] = True
    assert box_of(place) == (0.4, 0.25, 0.6, 0.5)
