"""Measures, the paper's frame score and its whole test loop against the published implementation."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from networks.measures import psnr_db, regular_score, squared_error
from tests.golden.networks_from_recipe import prediction_network
from tests.golden.reference import arrays, close, items
from training.dataset import FrameCache, Video
from training.evaluate import blended, paper_auc, paper_normality, run_paper_test, scaled
from workers.decode import FrameFormat, fit
from workers.engine import Predictor


def by_video(values: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    return np.split(values.astype(np.float64), np.cumsum(lengths)[:-1])


def test_measures_of_frames() -> None:
    case = arrays("scoring")
    error = squared_error(torch.from_numpy(case["frame_pred"]), torch.from_numpy(case["frame_true"]))
    close(error.mean(dim=(1, 2, 3)), case["frame_mse01"])
    close(psnr_db(error), case["frame_psnr"])
    close(regular_score(error), case["frame_point_score"])


def test_scaling_by_video() -> None:
    case = arrays("scoring")
    lengths = case["video_lengths"]
    close(np.concatenate([scaled(v) for v in by_video(case["video_psnr"], lengths)]), case["norm_psnr"])
    inverted = [1 - scaled(v) for v in by_video(case["video_feature_distance"], lengths)]
    close(np.concatenate(inverted), case["norm_feature_inverted"])


@pytest.mark.parametrize("index", range(4))
def test_frame_auc(index: int) -> None:
    case = arrays("scoring")
    lengths, alpha = case["video_lengths"], float(case["alphas"][index])
    psnr = by_video(case["video_psnr"], lengths)
    distance = by_video(case["video_feature_distance"], lengths)
    labels = [values.astype(np.int64) for values in by_video(case["video_labels"], lengths)]
    close(blended(psnr, distance, alpha), case["normality_score"][index])
    close(paper_auc(psnr, distance, labels, alpha), case["auc"][index])


def test_ties_count_one_half() -> None:
    case = arrays("scoring")
    rows = zip(case["tie_labels"], case["tie_scores"], strict=True)
    close(np.array([roc_auc_score(labels, scores) for labels, scores in rows]), case["tie_auc"])


@pytest.mark.parametrize("index", [0, 1])
def test_preparation_of_images(index: int) -> None:
    case = arrays("scoring")
    wanted = case[f"resize{index}_out"]
    image = fit(case[f"resize{index}_bgr8"], FrameFormat(wanted.shape[1], wanted.shape[0], 3))
    assert np.abs(image / 127.5 - 1 - wanted).max() <= 1e-6


def test_whole_evaluation() -> None:
    """Scoring, gated updates carried from video to video, and the AUC, through the very engine that runs live."""
    case = arrays("mnad_evaluate")
    predictor = Predictor(prediction_network(int(case["pred_model_seed"])), FrameFormat(64, 64, 3), "cpu")
    first_items = items(int(case["pred_items_seed"]), [10, 512]).numpy()
    close(first_items, case["pred_items_first"])
    ends = np.cumsum(case["video_lengths"])
    videos = tuple(
        Video(str(end), int(end - length), int(length), 10.0)
        for end, length in zip(ends, case["video_lengths"], strict=True)
    )
    footage = FrameCache(case["frames_bgr8"], videos, digest="")
    run = run_paper_test(predictor, footage, first_items, float(case["pred_threshold"]))
    frames = [frame for video in run.videos for frame in video]
    close(np.array([frame.psnr_db for frame in frames]), case["pred_psnr"])
    close(np.array([frame.feature_distance for frame in frames]), case["pred_feature_distance"])
    close(np.array([frame.regular_score for frame in frames]), case["pred_point_score"])
    assert np.array_equal(run.updated, case["pred_updated"])
    close(run.items_MC, case["pred_items_last"])
    close(paper_normality(run.videos, float(case["pred_alpha"])), case["pred_normality_score"])
    labels = np.split(case["labels"], ends[:-1])
    used = [values[4:] for values in labels]
    assert np.array_equal(np.concatenate(used), case["pred_labels_used"])
    psnr = [np.array([frame.psnr_db for frame in video]) for video in run.videos]
    distance = [np.array([frame.feature_distance for frame in video]) for video in run.videos]
    close(paper_auc(psnr, distance, used, float(case["pred_alpha"])), case["pred_auc"])
