"""The whole pipeline against the bare network, on the shipped bundle: what all that is around the network costs.

Pipeline: frames from the log, decode, window, network, score, event, proposal, one transaction per commit interval.
"""

import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.plumbing import CAMERAS, PARTITIONS, frame_record
from benchmarks.timing import Figure, print_rates
from bundles.bundle import load_bundle
from engram.build.shipped import WALKWAY, shipped_bundle
from inference.decode import fit
from inference.engine import Engine, engine_of
from memory_store.stores.sqlite import SqliteStore
from memory_store.views import BankCache, InitialBank
from messaging.inprocess.bus import InProcessBus
from messaging.ports import TopicSpec
from producers.synthetic import SyntheticScene
from schemas.messages import utc_now
from schemas.topics import TopicNames
from workers.options import WorkerOptions
from workers.worker import Worker

FRAMES, BATCH, ROUNDS = 800, 8, 3
TOPICS = TopicNames.with_prefix("")
DEADLINE_S = 300.0


def run() -> None:
    """With the shipped bundle."""
    compare(engine_of(load_bundle(shipped_bundle(WALKWAY))), FRAMES, ROUNDS)


def compare(engine: Engine, num_frames: int, rounds: int) -> None:
    """Time both in turn and print the table; ``num_frames`` of all cameras together."""
    images = list(SyntheticScene(seed=1, fps=engine.bundle.manifest.fps).frames(50))
    taken: dict[str, list[float]] = {"bare network, batch of 8 (baseline)": [], "whole pipeline, in-process bus": []}
    for _ in range(rounds):
        taken["bare network, batch of 8 (baseline)"].append(_bare(engine, images, num_frames))
        taken["whole pipeline, in-process bus"].append(_pipeline(engine, images, num_frames))
    size = engine.predictor.frame_format
    title = f"{num_frames} frames at {size.width} x {size.height}, {CAMERAS} cameras, {engine.bundle.model} on CPU"
    print_rates(title, [Figure(name, tuple(seconds)) for name, seconds in taken.items()], num_frames)


def _bare(engine: Engine, images: list[np.ndarray], num_frames: int) -> float:
    predictor = engine.predictor
    small = [fit(image, predictor.frame_format) for image in images]
    clips = [np.stack(small[index : index + predictor.clip_format.length]) for index in range(BATCH)]
    items_BMC = np.repeat(engine.bundle.items_MC[None], BATCH, axis=0)
    predictor.infer(clips, items_BMC)
    start = time.perf_counter()
    for _ in range(num_frames // BATCH):
        predictor.infer(clips, items_BMC)
    return time.perf_counter() - start


def _pipeline(engine: Engine, images: list[np.ndarray], num_frames: int) -> float:
    bus = InProcessBus(max_topic_bytes=1 << 30)
    compacted = {TOPICS.camera_states, TOPICS.memory_banks}
    bus.create_topics([TopicSpec(name, PARTITIONS, name in compacted) for name in TOPICS.all()])
    publisher = bus.publisher()
    jpegs = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes() for image in images]
    fps = engine.bundle.manifest.fps
    for index in range(num_frames):
        publisher.publish(frame_record(TOPICS.frames, index, jpegs[index % len(jpegs)], fps))
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "banks.db")
        banks = BankCache(store, InitialBank.of_bundle(engine.bundle))
        worker = Worker(bus, engine, banks, WorkerOptions("bench", topics=TOPICS, max_batch=BATCH), utc_now)
        seconds = _until_done(worker, num_frames)
        store.close()
    bus.close()
    return seconds


def _until_done(worker: Worker, num_frames: int) -> float:
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    start = time.perf_counter()
    thread.start()
    while worker.snapshot().tally.received < num_frames:
        assert thread.is_alive(), "the worker must not end by itself"
        assert time.perf_counter() - start < DEADLINE_S, "the worker must finish within the deadline"
        time.sleep(0.005)
    seconds = time.perf_counter() - start
    stop.set()
    thread.join()
    return seconds
