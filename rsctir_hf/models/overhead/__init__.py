"""A small detector of objects seen from above: FCOS on EfficientNet-Lite0."""

from .configuration_overhead import OverheadDetectorConfig
from .modeling_overhead import OverheadDetector, OverheadDetectorOutput

__all__ = ["OverheadDetector", "OverheadDetectorConfig", "OverheadDetectorOutput"]
