"""Captioned picture sets: loading, converting, checking, and feeding a training run."""

from rsctir_hf.data.augmentation import Augmentation
from rsctir_hf.data.benchmarks import (
    BENCHMARKS,
    NAMES,
    available_splits,
    hold_out,
    load_benchmark,
    load_captioned_folder,
)
from rsctir_hf.data.collator import EpochView, RetrievalCollator, TrainingRow
from rsctir_hf.data.conversion import convert
from rsctir_hf.data.leakage import LeakageReport, check_leakage
from rsctir_hf.data.sampler import CaptionAwareSampler
from rsctir_hf.errors import OutputExistsError

__all__ = [
    "BENCHMARKS",
    "NAMES",
    "Augmentation",
    "CaptionAwareSampler",
    "EpochView",
    "LeakageReport",
    "OutputExistsError",
    "RetrievalCollator",
    "TrainingRow",
    "available_splits",
    "check_leakage",
    "convert",
    "hold_out",
    "load_benchmark",
    "load_captioned_folder",
]
