"""A detector of objects seen from above: torchvision's FCOS on a timm backbone.

FCOS (Tian et al., ICCV 2019, arXiv 1904.01355) is anchor-free and has one stage. Heads, matching,
losses and suppression are torchvision's; this file gives them a small pyramid over a timm backbone
and the signature of transformers' detectors, so that ``AutoModelForObjectDetection``, an image
processor of RT-DETR and its ``post_process_object_detection`` serve it. Suppression of overlapping
boxes happens inside ``forward``: what it gives out is final.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork, box_convert
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_overhead import OverheadDetectorConfig

SCORE_EPS = 1e-6  # scores are given out as logits, which are infinite at 0 and 1
SMALLEST_BOX = 1.0  # pixels of the model input
_PROBE_SIDE = 128  # pixels of a blank picture that tells channels and strides


@dataclass
class OverheadDetectorOutput(ModelOutput):
    """What the detector gives out.

    Attributes:
        loss: sum of the three FCOS losses; with ``labels`` only.
        logits: (B, Q, C) log-odds of class scores, each box with one class (the others and the
            unused places are at the least float, whose score is 0). Not while training.
        pred_boxes: (B, Q, 4) centre x, centre y, width, height in 0..1 of the picture. Not while
            training.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    pred_boxes: Tensor | None = None


class PyramidBackbone(nn.Module):
    """Blocks of a timm network, brought to one width by a feature pyramid with one more level."""

    def __init__(self, config: OverheadDetectorConfig) -> None:
        super().__init__()
        self.blocks = config.backbone_blocks
        net: Any = timm.create_model(config.backbone, pretrained=False)
        net.prune_intermediate_layers(self.blocks, prune_norm=True, extra_blocks=True)
        self.net = net
        with torch.no_grad():
            levels = net.eval().forward_intermediates(
                torch.zeros(1, 3, _PROBE_SIDE, _PROBE_SIDE), **self._taken
            )
        channels = [level.shape[1] for level in levels]
        strides = [_PROBE_SIDE // level.shape[-1] for level in levels]
        self.pyramid = FeaturePyramidNetwork(
            channels, config.pyramid_channels, extra_blocks=LastLevelMaxPool()
        )
        self.strides: list[int] = [*strides, 2 * strides[-1]]
        self.out_channels = config.pyramid_channels  # FCOS asks for it by this name

    @property
    def _taken(self) -> dict[str, Any]:
        return {"indices": self.blocks, "extra_blocks": True, "intermediates_only": True}

    def forward(self, pixel_values: Tensor) -> "OrderedDict[str, Tensor]":
        """Return the levels (B, pyramid_channels, h, w) by name, finest first."""
        levels = self.net.forward_intermediates(pixel_values, **self._taken)
        return self.pyramid(OrderedDict((str(n), level) for n, level in enumerate(levels)))


class OverheadDetector(PreTrainedModel):
    """Finds objects of the classes of ``config.id2label`` in pictures taken from above."""

    config_class = OverheadDetectorConfig
    config: OverheadDetectorConfig
    base_model_prefix = "detector"
    main_input_name = "pixel_values"

    def __init__(self, config: OverheadDetectorConfig) -> None:
        super().__init__(config)
        backbone = PyramidBackbone(config)
        classes = config.num_labels
        self.detector = FCOS(
            backbone,
            num_classes=classes,
            head=FCOSHead(config.pyramid_channels, 1, classes, config.head_convs),
            center_sampling_radius=config.center_radius,
            score_thresh=config.min_score,
            nms_thresh=config.nms_iou,
            detections_per_img=config.max_detections,
            topk_candidates=config.candidates_per_level,
        )
        # A box begins two strides wide (our choice): from torchvision's 0, ReLU cuts the gradient
        # of about every second side.
        nn.init.ones_(self.detector.head.regression_head.bbox_reg.bias)
        # Let the initialisation of timm and torchvision stand. On the meta device
        # (from_pretrained) there is nothing to keep.
        if not next(self.detector.parameters()).is_meta:
            for module in self.detector.modules():
                module._is_hf_initialized = True  # type: ignore[assignment]
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor,
        *,
        pixel_mask: Tensor | None = None,
        labels: list[dict[str, Tensor]] | None = None,
    ) -> OverheadDetectorOutput:
        """Detect, or compute the loss.

        Args:
            pixel_values: (B, 3, H, W) of any size, as the processor makes them.
            pixel_mask: (B, H, W) 1 where the picture is, which begins at the upper left corner;
                ``None``: everywhere.
            labels: for each picture ``class_labels`` (N,) and ``boxes`` (N, 4), written
                as in ``pred_boxes``.

        Returns:
            The loss if there are labels; boxes and logits in evaluation mode.
        """
        sizes = picture_sizes(pixel_values, pixel_mask)
        pixels = pad_to_multiple(pixel_values, max(self.detector.backbone.strides))
        levels = list(self.detector.backbone(pixels).values())
        # Mixed precision ends here: boxes are counted in pixels, beyond what bfloat16 can tell.
        outputs = {name: value.float() for name, value in self.detector.head(levels).items()}
        anchors = self._anchors(pixels, levels)
        per_level = [level.shape[-2] * level.shape[-1] for level in levels]
        found = OverheadDetectorOutput()
        if labels is not None:
            targets = [to_pixels(label, size) for label, size in zip(labels, sizes, strict=True)]
            losses = self.detector.compute_loss(targets, outputs, anchors, per_level)
            found.loss = torch.stack(list(losses.values())).sum()
        if not self.training:
            split = {name: list(value.split(per_level, dim=1)) for name, value in outputs.items()}
            detections = self.detector.postprocess_detections(
                split, [list(each.split(per_level)) for each in anchors], sizes
            )
            found.logits, found.pred_boxes = self._as_queries(detections, sizes)
        return found

    def _anchors(self, pixels: Tensor, levels: list[Tensor]) -> list[Tensor]:
        """Return for each picture the squares (A, 4), one stride wide, around all locations.

        Made anew each time: the generator keeps tensors that ``from_pretrained`` cannot fill.
        """
        strides = self.detector.backbone.strides
        generator = AnchorGenerator(tuple((n,) for n in strides), ((1.0,),) * len(strides))
        height, width = pixels.shape[-2:]
        return generator(ImageList(pixels.float(), [(height, width)] * len(pixels)), levels)

    def _as_queries(
        self, detections: list[dict[str, Tensor]], sizes: list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """Write detections as logits (B, Q, C) and boxes (B, Q, 4)."""
        shape = (len(detections), self.config.max_detections)
        classes = self.detector.head.classification_head.num_classes
        like = detections[0]["boxes"]
        logits = like.new_full((*shape, classes), torch.finfo(like.dtype).min)
        boxes = like.new_zeros((*shape, 4))
        for row, (found, (height, width)) in enumerate(zip(detections, sizes, strict=True)):
            sides = found["boxes"][:, 2:] - found["boxes"][:, :2]
            keep = (sides >= SMALLEST_BOX).all(dim=1)
            places = torch.arange(int(keep.sum()), device=like.device)
            scores = torch.logit(found["scores"][keep], eps=SCORE_EPS)
            logits[row, places, found["labels"][keep]] = scores
            scale = like.new_tensor([width, height, width, height])
            boxes[row, places] = box_convert(found["boxes"][keep], "xyxy", "cxcywh") / scale
        return logits, boxes


def picture_sizes(pixel_values: Tensor, pixel_mask: Tensor | None) -> list[tuple[int, int]]:
    """Return height and width of each picture in a batch, without its padding."""
    height, width = pixel_values.shape[-2:]
    if pixel_mask is None:
        return [(height, width)] * len(pixel_values)
    mask = pixel_mask.bool()
    heights, widths = mask.any(dim=2).sum(dim=1), mask.any(dim=1).sum(dim=1)
    return list(zip(heights.tolist(), widths.tolist(), strict=True))


def pad_to_multiple(pixel_values: Tensor, stride: int) -> Tensor:
    """Pad right and below, so that locations of every level lie a whole stride apart."""
    height, width = pixel_values.shape[-2:]
    return F.pad(pixel_values, (0, -width % stride, 0, -height % stride))  # (B, 3, H', W')


def to_pixels(label: dict[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
    """Turn a label of transformers' detectors into a target of torchvision's."""
    height, width = size
    scale = label["boxes"].new_tensor([width, height, width, height])
    boxes = box_convert(label["boxes"], "cxcywh", "xyxy") * scale  # (N, 4)
    return {"boxes": boxes, "labels": label["class_labels"]}


OverheadDetector.register_for_auto_class("AutoModelForObjectDetection")
