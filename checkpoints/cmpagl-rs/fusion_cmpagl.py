"""The multimodal encoder: BERT-like layers in which words look at image tokens."""

import copy

import torch
from torch import Tensor, nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertLayer


class FusionEncoder(nn.Module):
    """Layers of self-attention over words, cross-attention to image tokens, and an MLP.

    They stand on top of the text tower's states and start fresh (our choice: with an encoder of
    MiniLM's size, keeping all its layers for the text side costs little).

    Args:
        text_config: sizes of the layers, the text tower's own.
        num_layers: number of layers.
        image_dim: width of the image tokens.
    """

    def __init__(self, text_config: BertConfig, num_layers: int, image_dim: int) -> None:
        super().__init__()
        config = copy.deepcopy(text_config)
        # transformers builds cross-attention only into "decoder" layers.
        config.is_decoder = True
        config.add_cross_attention = True
        self.image_projection = nn.Linear(image_dim, config.hidden_size)
        layers = [BertLayer(config, index) for index in range(num_layers)]
        for layer in layers:
            # A decoder layer is causal by default; a matching score must read the whole sentence.
            layer.attention.self.is_causal = False
        self.layers = nn.ModuleList(layers)

    def forward(self, text_states: Tensor, attention_mask: Tensor, image_tokens: Tensor) -> Tensor:
        """Fuse P sentences with P pictures.

        Args:
            text_states: (P, T, hidden) of the text tower.
            attention_mask: (P, T), 1 at words and 0 at padding.
            image_tokens: (P, tokens, image_dim).

        Returns:
            (P, T, hidden) fused states.
        """
        image_states = self.image_projection(image_tokens)  # (P, tokens, hidden)
        lowest = torch.finfo(text_states.dtype).min
        bias = torch.zeros_like(attention_mask, dtype=text_states.dtype)
        bias = bias.masked_fill(attention_mask == 0, lowest)[:, None, None]  # (P, 1, 1, T)
        for layer in self.layers:
            text_states = layer(text_states, bias, image_states)
        return text_states
