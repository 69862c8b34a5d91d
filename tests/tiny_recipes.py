"""What makes any shipped recipe a run of seconds: tiny towers, random weights, two epochs."""

import importlib.util

from tests.conftest import ROOT

TINY = {
    "image_weights": "none",
    "text_weights": "none",
    "text_layers": "0",
    "max_tokens": "12",
    "num_train_epochs": "2",
    "per_device_train_batch_size": "3",
    "per_device_eval_batch_size": "4",
    "frozen_epochs": "{}",
    "lr_factors": "{}",
    "report_to": "none",
    "use_cpu": "true",
    "dataloader_num_workers": "0",
    "dataloader_persistent_workers": "false",
    "complete": "false",
}
TINY_CONFIG = {
    "cmpagl": """{image_size: 32, embed_dim: 8, depths: [1, 1], num_heads: [2, 2], window_size: 4,
        projection_dim: 8, fusion_layers: 1, text_config: {vocab_size: 30522, hidden_size: 8,
        num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16}}""",
    "galr": """{image_size: 32, backbone: resnet10t, mvsa_grid: 2, max_regions: 4, region_dim: 8,
        graph_dims: [8, 8], fusion_dim: 8, text_hidden_size: 8, embedding_dim: 8,
        projection_dim: 8}""",
}
TINY_DETECTOR = {
    "image_weights": "none",
    "backbone": "test_efficientnet",
    "pyramid_channels": "32",
    "picture_side": "64",
    "crop_side": "64",
    "drawn_scenes": "0",
    "drawn_others": "0",
    "repeats": "1",
    "max_steps": "2",
    "eval_steps": "1",
    "save_steps": "1",
    "per_device_train_batch_size": "2",
    "report_to": "none",
    "use_cpu": "true",
    "bf16": "false",
}


def flags_of(options):
    """Return ``--key value`` of each option."""
    return [part for key, value in options.items() for part in (f"--{key}", str(value))]


def load_door(name):
    """Import ``training/NAME.py``."""
    place = ROOT / "training" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"training_{name}", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
