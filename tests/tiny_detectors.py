"""Object detectors of three families, built on the spot with random weights."""

import torch
from transformers import (
    DetrConfig,
    DetrForObjectDetection,
    DetrImageProcessor,
    ResNetConfig,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
    RTDetrResNetConfig,
    YolosConfig,
    YolosForObjectDetection,
    YolosImageProcessor,
)

CLASSES = ("plane", "ship", "tank")
QUERIES = 30  # more than the 20 regions that may be kept
NAMED = {
    "id2label": dict(enumerate(CLASSES)),
    "label2id": {name: number for number, name in enumerate(CLASSES)},
}
STEM = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4}
STEM |= {"layer_type": "basic"}
SIZE = {"shortest_edge": 48, "longest_edge": 64}


def yolos():
    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=[32, 32],
        patch_size=8,
        num_detection_tokens=QUERIES,
        **NAMED,
    )
    return YolosForObjectDetection(config), YolosImageProcessor(size=SIZE)


def detr():
    config = DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=ResNetConfig(num_channels=3, out_features=["stage4"], **STEM),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=QUERIES,
        **NAMED,
    )
    return DetrForObjectDetection(config), DetrImageProcessor(size=SIZE)


def rt_detr():
    levels = ["stage2", "stage3", "stage4"]
    config = RTDetrConfig(
        backbone_config=RTDetrResNetConfig(out_features=levels, **STEM),
        encoder_hidden_dim=16,
        encoder_in_channels=[8, 16, 16],
        encoder_attention_heads=2,
        encoder_ffn_dim=16,
        d_model=16,
        num_queries=QUERIES,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_n_points=2,
        num_denoising=0,
        **NAMED,
    )
    processor = RTDetrImageProcessor(size={"height": 64, "width": 64})
    return RTDetrForObjectDetection(config), processor


FAMILIES = {"yolos": yolos, "detr": detr, "rt_detr": rt_detr}


def save_detector(folder, family="yolos", *, seed=0, change=None):
    """Write a detector below ``folder``; its boxes and scores differ widely.

    Args:
        folder: where.
        family: a key of ``FAMILIES``.
        seed: of the weights.
        change: called with the model before it is saved.
    """
    torch.manual_seed(seed)
    model, processor = FAMILIES[family]()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if any(part in name for part in ("class_", "query", "detection_tokens")):
                weights.normal_(std=1.0)
            elif "bbox" in name:  # wider ones would put every box into a corner
                weights.normal_(std=0.3)
        if change is not None:
            change(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def always_this_box(centre_x, centre_y, width, height):
    """Return a ``change`` after which YOLOS finds one box, in shares of the picture's sides."""

    def change(model):
        last = model.bbox_predictor.layers[-1]
        last.weight.zero_()
        last.bias.copy_(torch.tensor([centre_x, centre_y, width, height]).logit())

    return change
