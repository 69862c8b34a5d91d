"""Configuration of the detector of objects seen from above."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedConfig

GROUPS = 32  # torchvision's FCOS heads normalise over so many groups of channels


class OverheadDetectorConfig(PreTrainedConfig):
    """Everything that decides the shape and behaviour of an ``OverheadDetector``.

    The classes are ``id2label``, as in every configuration of transformers.

    Args:
        backbone: name of a timm EfficientNet or MobileNet.
        backbone_blocks: after which of its stages of blocks the levels are taken, finest first, 0
            being the stem; what comes behind the last is cut off. Of EfficientNet-Lite0, 3 and 4
            have strides 8 and 16 and 40 and 80 channels. The pyramid adds one level of twice the
            last stride.
        pyramid_channels: width of the feature pyramid and of the heads, a multiple of 32.
        head_convs: convolutions of each of the two heads, 4 as in FCOS.
        center_radius: a location is a positive where it lies within so many strides of a box's
            centre (FCOS: 1.5).
        min_score: predictions below are not given out.
        nms_iou: overlap above which the weaker box of the same class is suppressed.
        candidates_per_level: best predictions of a level that enter the suppression.
        max_detections: Q, the boxes given out for each picture; unused places have score 0.
    """

    model_type = "overhead_detector"

    def __init__(
        self,
        backbone: str = "efficientnet_lite0",
        backbone_blocks: Sequence[int] = (3, 4),
        pyramid_channels: int = 32,
        head_convs: int = 4,
        center_radius: float = 1.5,
        min_score: float = 0.02,
        nms_iou: float = 0.5,
        candidates_per_level: int = 300,
        max_detections: int = 100,
        **kwargs: Any,  # noqa: ANN401 (what every configuration of transformers takes)
    ) -> None:
        if not backbone_blocks or list(backbone_blocks) != sorted(set(backbone_blocks)):
            raise ValueError(
                f"backbone_blocks is {list(backbone_blocks)}; expected levels, finest first."
            )
        if pyramid_channels < GROUPS or pyramid_channels % GROUPS:
            raise ValueError(
                f"pyramid_channels is {pyramid_channels}; expected a multiple of {GROUPS}."
            )
        if not (0 < min_score < 1 and 0 < nms_iou < 1):
            raise ValueError(
                f"min_score is {min_score} and nms_iou {nms_iou}; expected both between 0 and 1."
            )
        self.backbone = backbone
        self.backbone_blocks = list(backbone_blocks)
        self.pyramid_channels = pyramid_channels
        self.head_convs = head_convs
        self.center_radius = center_radius
        self.min_score = min_score
        self.nms_iou = nms_iou
        self.candidates_per_level = candidates_per_level
        self.max_detections = max_detections
        super().__init__(**kwargs)


OverheadDetectorConfig.register_for_auto_class()
