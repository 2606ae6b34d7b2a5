"""Counts of normality that frames could have given, for tests."""

from dataclasses import replace
from datetime import timedelta

import numpy as np

from memory_store.bank import Bank
from memory_store.coordinator.rounds import Held
from memory_store.normality import Grid, Normality
from memory_store.proposal import ItemSums
from tests.unit.memory_store.proposals import BUNDLE, NOW, a_bank, header_for, place

GRID = Grid(4, 8)
HOUR_S = 3600.0


def counts(num_frames: int = 10, seed: int = 0, late_s: float = 0.0) -> Normality:
    """Of so many frames, ``late_s`` after ``NOW``."""
    draw = np.random.default_rng(seed)
    errors_FPQ = draw.normal(-6, 1, (num_frames, *GRID.places))
    grey_FPQ = draw.uniform(60, 120, (num_frames, *GRID.places))
    evidence_FE = draw.normal(0, 1, (num_frames, 3))
    psnr_F = draw.normal(30, 1, num_frames)

    def moments(values: np.ndarray) -> np.ndarray:
        return np.stack([np.full(values.shape[1:], num_frames), values.sum(0), np.square(values).sum(0)], axis=-1)

    levels_L = np.zeros(256)
    np.add.at(levels_L, draw.integers(50, 100, num_frames), 1.0)
    return Normality.of(
        GRID,
        NOW.timestamp() + late_s,
        frames=float(num_frames),
        psnr=np.array([psnr_F.sum(), np.square(psnr_F).sum()]),
        speeds=(draw.integers(0, num_frames, (GRID.rows, 18)) * 8.0 / 18.0).astype(np.float64),
        errors=moments(errors_FPQ),
        background=moments(grey_FPQ)[..., 1:],
        evidence=moments(evidence_FE),
        levels=levels_L,
    )


def counting_bank(seed: int = 0, num_items: int = 4, **changed: object) -> Bank:
    """A bank with items, or none, and counts of nothing yet."""
    bank = a_bank(seed) if num_items else Bank("lobby", 0, a_bank().epoch, BUNDLE, np.zeros((0, 0), np.float32), NOW)
    return replace(bank, normality=Normality.empty(GRID), **changed)  # type: ignore[arg-type]


def counted_for(bank: Bank, camera_id: str = "cam1", first: int = 0, at: float = 0.0, late_s: float = 0.0) -> Held:
    """A proposal of ten frames that were only counted."""
    normality = counts(10, seed=first, late_s=late_s)
    of, _ = normality.to_wire()
    captured = NOW + timedelta(seconds=late_s)
    header = header_for(
        bank,
        camera_id,
        first,
        first + 9,
        base_digest=bank.items_digest,
        captured_from=captured,
        captured_to=captured,
        normality=of,
    )
    sums = ItemSums.empty(*bank.items_MC.shape)
    return Held(header, sums, at, place(first), f"{header.proposal_id}#0", normality)
