"""Tiny CMPAGL-style models for the tests: 32 px, hidden 16, two layers."""

import torch
from torch import nn
from transformers import BertConfig, BertTokenizer

from rsctir_hf.models.cmpagl import CMPAGLConfig, CMPAGLModel, CMPAGLProcessor
from tests.models.contract import WORDS

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = {word: number for number, word in enumerate(SPECIAL + WORDS)}


def tiny_text_config(**changes):
    values = {
        "vocab_size": len(VOCABULARY),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 20,
    }
    return BertConfig(**(values | changes))


def tiny_config(**changes):
    """Two stages, windows of 2 tokens, 32 px: maps of 8 x 8 and 4 x 4 tokens."""
    values = {
        "image_size": 32,
        "embed_dim": 8,
        "depths": [2, 2],
        "num_heads": [2, 2],
        "window_size": 2,
        "mlp_ratio": 2.0,
        "projection_dim": 12,
        "fusion_layers": 1,
        "text_config": tiny_text_config(),
    }
    return CMPAGLConfig(**(values | changes))


def tiny_stem_config(**changes):
    """A small timm network; stage 0 at stride 16 has a map of 4 x 4 tokens at 64 px."""
    values = {"stem": "test_efficientnet", "stem_indices": [3, 4], "image_size": 64}
    return tiny_config(**(values | changes))


def seeded_model(config, *, seed=0):
    torch.manual_seed(seed)
    return CMPAGLModel(config).eval()


def open_global_path(model):
    """Give every global path a weight, as training would."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "global_" in name:
            nn.init.normal_(parameter, generator=generator)


def shake(module):
    """Give all weights, biases and norms values that differ from their usual start."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)


def sentences(*rows):
    return torch.tensor(rows)


def tiny_processor(model):
    tokenizer = BertTokenizer(vocab=dict(VOCABULARY), model_max_length=16)
    return CMPAGLProcessor.build(tokenizer, image_size=model.config.image_size)
