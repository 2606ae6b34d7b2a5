"""Convolutions in 8 bits: three times as fast on CPUs with such instructions, and other scores.

Only convolutions are quantised, with what lies between them. Pixels to numbers, the memory's reading and all measures
stay in single precision: quantising them, too, made errors several times as large and nothing faster.
"""

import contextlib
import logging
import sys
from typing import Any

import nncf

from schemas.arrays import Float32, UInt8

QUANTISED = frozenset({"Convolution", "ConvolutionBackpropData", "Relu", "PRelu", "LeakyRelu", "MaxPool", "Concat"})
PASSIVE = frozenset({"Constant", "Convert", "Parameter", "Result"})


def quantised(model: Any, clips_BTHWK: UInt8, items_MC: Float32) -> Any:
    """The model with convolutions in 8 bits, their ranges taken from clips of normal video.

    Args:
        model: of OpenVINO; is not changed.
        clips_BTHWK: to measure the ranges of activations on.
        items_MC: the bank these clips are held against; (0, 0) for a network without one.
    """
    logging.getLogger("nncf").setLevel(logging.ERROR)  # its own function would also set foreign handlers
    given = [(clip[None], items_MC[None])[: len(model.inputs)] for clip in clips_BTHWK]
    dataset = nncf.Dataset(given, lambda pair: dict(enumerate(pair)))
    with contextlib.redirect_stdout(sys.stderr):  # it draws bars
        return nncf.quantize(
            model.clone(),
            dataset,
            preset=nncf.QuantizationPreset.MIXED,  # of both signs where activations are
            subset_size=len(given),
            ignored_scope=nncf.IgnoredScope(names=_left_alone(model)),
        )


def _left_alone(model: Any) -> list[str]:
    return [
        operation.get_friendly_name()
        for operation in model.get_ops()
        if operation.get_type_name() not in QUANTISED | PASSIVE and not _is_bias(operation)
    ]


def _is_bias(operation: Any) -> bool:
    if operation.get_type_name() != "Add":
        return False
    return "Convolution" in str(operation.input_value(0).get_node().get_type_name())
