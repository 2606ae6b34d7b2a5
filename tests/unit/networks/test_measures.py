"""Errors of a prediction: units, directions, limits."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from networks.measures import CELL_PX, cell_errors, clip_error, psnr_db, regular_score, squared_error


def test_errors_are_on_unit_images() -> None:
    assert squared_error(torch.tensor([1.0]), torch.tensor([-1.0])).item() == 1.0


def test_psnr_of_a_known_error() -> None:
    error = torch.full((1, 3, 4, 4), 0.01)
    assert psnr_db(error).item() == pytest.approx(20.0, abs=1e-4)


def test_a_perfect_prediction_is_finite() -> None:
    error = torch.zeros(2, 1, 16, 16)
    assert psnr_db(error).tolist() == pytest.approx([100.0, 100.0])
    assert regular_score(error).tolist() == [0.0, 0.0]
    assert not cell_errors(error).any()


def test_regular_score_weighs_large_errors_more_than_the_mean() -> None:
    error = torch.zeros(1, 1, 10, 10)
    error[..., 0, 0] = 0.5
    weight = 1 - math.exp(-0.5)
    assert regular_score(error).item() == pytest.approx(weight * 0.5 / weight, rel=1e-5)
    assert regular_score(error) > error.mean()


def test_samples_do_not_mix() -> None:
    error = torch.rand(3, 2, 24, 24)
    for measure in (psnr_db, regular_score, cell_errors):
        alone = torch.cat([measure(sample[None]) for sample in error])
        assert torch.allclose(measure(error), alone, rtol=1e-5)


def test_cells_tile_the_image_and_find_the_place() -> None:
    error = torch.zeros(1, 1, 4 * CELL_PX, 6 * CELL_PX)
    error[..., 2 * CELL_PX : 3 * CELL_PX, CELL_PX : 2 * CELL_PX] = 1.0
    error[..., 0, 0] = 1.0
    cells = cell_errors(error)
    assert cells.shape == (1, 4, 6)
    assert cells[0, 2, 1] == 1.0
    assert cells[0, 0, 0] == 1 / CELL_PX**2
    assert cells.sum() == 1 + 1 / CELL_PX**2


def test_colours_are_averaged() -> None:
    error = torch.zeros(1, 2, 16, 16)
    error[:, 0] = 1.0
    assert (cell_errors(error) == 0.5).all()


def test_the_error_of_a_grey_clip_is_the_mean_absolute_error() -> None:
    rebuilt, true = torch.rand(2, 2, 1, 3, 4, 5)
    assert torch.allclose(clip_error(rebuilt, true), (rebuilt - true).abs().mean(dim=(1, 2, 3, 4)))


def test_the_error_of_a_colour_clip_takes_the_length_over_colours() -> None:
    rebuilt, true = torch.zeros(1, 3, 2, 1, 1), torch.zeros(1, 3, 2, 1, 1)
    rebuilt[0, :2, 0] = torch.tensor([0.3, 0.4]).reshape(2, 1, 1)
    assert clip_error(rebuilt, true).item() == pytest.approx(0.25)


@given(st.integers(0, 2**16), st.sampled_from([1, 3]), st.sampled_from([0.01, 0.3, 1.0]))
def test_every_measure_is_its_formula_in_plain_numbers(seed: int, colours: int, strength: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    true, made = torch.rand(2, 1, colours, 8, 12, generator=generator, dtype=torch.float64) * 2 - 1
    made = true + strength * (made - true)
    pairs = list(zip(true.flatten().tolist(), made.flatten().tolist(), strict=True))
    squares = [((a - b) / 2) ** 2 for a, b in pairs]
    weights = [1 - math.exp(-square) for square in squares]
    error = squared_error(made, true)
    assert error.flatten().tolist() == pytest.approx(squares)
    assert psnr_db(error).item() == pytest.approx(-10 * math.log10(sum(squares) / len(squares)))
    weighted = sum(weight * square for weight, square in zip(weights, squares, strict=True)) / sum(weights)
    assert regular_score(error).item() == pytest.approx(weighted, rel=1e-6)
    inside = [squares[(k * 8 + y) * 12 + x] for k in range(colours) for y in range(4, 8) for x in range(8, 12)]
    assert cell_errors(error)[0, 1, 2].item() == pytest.approx(sum(inside) / len(inside))


def test_the_error_of_a_clip_is_a_mean_over_its_frames() -> None:
    """On [-1, 1]: one frame of three is off by (0.3, 0, 0.4) in each pixel, which is 0.5 long."""
    true = torch.zeros(1, 3, 3, 4, 4)
    rebuilt = true.clone()
    rebuilt[:, 0, 1], rebuilt[:, 2, 1] = 0.3, -0.4
    assert clip_error(rebuilt, true).item() == pytest.approx(0.5 / 3)


def test_a_rest_that_fills_no_cell_is_left_out() -> None:
    error = torch.zeros(1, 1, 2 * CELL_PX + 3, 3 * CELL_PX + 1)
    error[..., 2 * CELL_PX :, :] = 1.0
    assert cell_errors(error).shape == (1, 2, 3)
    assert not cell_errors(error).any()
