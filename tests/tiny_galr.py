"""A GaLR with random weights on a tiny backbone, and its processor."""

import torch

from rsctir_hf.models.galr import GaLRConfig, GaLRModel, GaLRProcessor, build_word_tokenizer


def tiny_galr(sentences):
    """Return model and processor for pictures of 64 px and the words of ``sentences``."""
    torch.manual_seed(0)
    config = GaLRConfig(
        backbone="test_efficientnet",
        image_size=64,
        mvsa_grid=4,
        max_regions=5,
        region_dim=8,
        graph_dims=(6, 6),
        fusion_dim=16,
        fusion_heads=2,
        vocab_size=20,
        embedding_dim=6,
        text_hidden_size=10,
        projection_dim=12,
    )
    tokenizer = build_word_tokenizer(sentences, model_max_length=20)
    return GaLRModel(config).eval(), GaLRProcessor.build(tokenizer, image_size=64)
