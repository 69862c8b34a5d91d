"""Tiny models with random weights, a caption bank and a gallery, on disk as a launch finds them."""

import json

import numpy as np
import torch
from PIL import Image
from torch import nn

from rsctir_hf.models.galr import GaLRConfig, GaLRModel, GaLRProcessor, build_word_tokenizer
from tests.models.tiny_cmpagl import seeded_model, tiny_config, tiny_processor

BANK = (
    "boats moored beside a pier",
    "two tennis courts between trees",
    "a bridge over a wide river",
    "planes parked next to a terminal",
    "white storage tanks on bare ground",
    "many houses along a road",
)
PICTURES = 20
SIDE = 64


class OnlyEmbeds(nn.Module):
    """A dual encoder that can leave nothing out of a picture, around one that can."""

    def __init__(self, model):
        super().__init__()
        self.model, self.config = model, model.config

    def get_image_features(self, pixel_values):
        return self.model.get_image_features(pixel_values)

    def get_text_features(self, input_ids, attention_mask=None):
        return self.model.get_text_features(input_ids, attention_mask)


def save_models(folder):
    """Write ``cmpagl`` and ``galr`` below ``folder``."""
    words = build_word_tokenizer(BANK, min_count=1, model_max_length=24)
    torch.manual_seed(0)
    model = seeded_model(tiny_config())
    model.save_pretrained(folder / "cmpagl")
    tiny_processor(model).save_pretrained(folder / "cmpagl")
    GaLRModel(
        GaLRConfig(
            image_size=SIDE,
            backbone="test_efficientnet",
            backbone_pool=False,
            mvsa_grid=4,
            max_regions=6,
            region_dim=16,
            graph_dims=[16],
            fusion_dim=16,
            fusion_heads=2,
            vocab_size=len(words),
            embedding_dim=16,
            text_hidden_size=16,
            projection_dim=16,
        )
    ).save_pretrained(folder / "galr")
    GaLRProcessor.build(words, image_size=SIDE).save_pretrained(folder / "galr")


def save_gallery(folder):
    """Write coloured blocks with captions and places; a broken file comes first."""
    folder.mkdir()
    random, rows = np.random.default_rng(0), []
    for number in range(PICTURES):
        coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        name = f"block_{number:02d}.png"
        Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(folder / name)
        place = [500000.0, 0.5, 0.0, 5000000.0, 0.0, -0.5]
        captions = [f"coloured block {number}", f"block number {number}"]
        row = {"file_name": name, "captions": captions, "category": "test_block"}
        rows.append(row | {"geotransform": place, "crs": 32632})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "aa_broken.png").write_bytes(b"\x89PNG\r\n\x1a\n cut short")


def save_launch(folder):
    """Write models, gallery and bank below ``folder``; return the flags that launch them."""
    save_models(folder)
    save_gallery(folder / "gallery")
    (folder / "bank.txt").write_text("\n".join(BANK))
    return [
        *("--model", str(folder / "cmpagl")),
        *("--region-model", str(folder / "galr")),
        *("--gallery", str(folder / "gallery")),
        *("--bank", str(folder / "bank.txt")),
    ]
