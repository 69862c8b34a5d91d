"""Text sides of GaLR: the paper's bidirectional GRU, the released uni-skip GRU, and BERT.

Each takes token ids (C, T) with a mask (C, T) and returns one vector per caption,
(C, ``output_dim``). Padding stands on the right and changes nothing.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import BertConfig, BertModel

from .configuration_galr import GaLRConfig


class GRUTextEncoder(nn.Module):
    """Bidirectional GRU: per step the mean of both directions, then the mean over steps.

    Source: the paper's figure; widths from AMFMN (embedding 300, hidden 512).
    """

    def __init__(self, config: GaLRConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(
            config.vocab_size, config.embedding_dim, padding_idx=config.pad_token_id
        )
        width = config.embedding_projection_dim or config.embedding_dim
        self.embedding_projection = (
            nn.Linear(config.embedding_dim, width)
            if config.embedding_projection_dim
            else nn.Identity()
        )
        self.dropout = nn.Dropout(config.text_dropout)
        self.gru = nn.GRU(width, config.text_hidden_size, batch_first=True, bidirectional=True)
        self.output_dim = config.text_hidden_size

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode ids (C, T) as (C, ``output_dim``)."""
        # A caption without words counts as one padding token: its vector is finite.
        lengths = attention_mask.sum(dim=-1).clamp(min=1)  # (C,)
        words = self.dropout(self.embedding_projection(self.embedding(input_ids)))
        if torch.compiler.is_compiling():
            return self._encode_unpacked(words, lengths)
        packed = pack_padded_sequence(words, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        steps = states.unflatten(-1, (2, -1)).mean(dim=-2)  # (C, T, hidden)
        return steps.sum(dim=1) / lengths.unsqueeze(-1)  # (C, hidden)

    def _encode_unpacked(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Do the same without packing, which cannot be exported, at twice the time.

        Forwards the padding comes last and is left out of the sum; backwards the words are moved
        to the right, so that it comes last there too.
        """
        width, places = self.output_dim, torch.arange(words.shape[1], device=words.device)
        lengths = lengths.unsqueeze(-1)  # (C, 1)
        start = words.shape[1] - lengths
        source = (places - start).clamp(min=0).unsqueeze(-1).expand_as(words)  # (C, T, embedding)
        ahead = self.gru(words)[0][..., :width] * (places < lengths).unsqueeze(-1)
        back = self.gru(words.gather(1, source))[0][..., width:] * (places >= start).unsqueeze(-1)
        return (ahead + back).sum(dim=1) / (2 * lengths)  # (C, hidden)


class UniSkipTextEncoder(nn.Module):
    """One-directional GRU with one bias per gate and dropout masks fixed over a caption.

    Source: the released code's uni-skip (skip-thoughts) encoder with Bayesian dropout: 620-d
    words, hidden 2400, last valid state. Its starting weights can no longer be had. ``nn.GRU``
    can neither drop the state nor leave out the second bias, hence the loop.
    """

    def __init__(self, config: GaLRConfig) -> None:
        super().__init__()
        hidden = config.text_hidden_size
        self.embedding = nn.Embedding(
            config.vocab_size, config.embedding_dim, padding_idx=config.pad_token_id
        )
        self.input_gates = nn.Linear(config.embedding_dim, 3 * hidden)
        self.state_gates = nn.Linear(hidden, 3 * hidden, bias=False)
        self.dropout = nn.Dropout(config.text_dropout)
        self.output_dim = hidden

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode ids (C, T) as the last valid state (C, ``output_dim``)."""
        words = self.embedding(input_ids)  # (C, T, embedding)
        words = words * self.dropout(torch.ones_like(words[:, :1]))
        inputs = self.input_gates(words)  # (C, T, 3 * hidden)
        state = inputs.new_zeros(len(inputs), self.output_dim)  # (C, hidden)
        keep = self.dropout(torch.ones_like(state))
        for step in range(inputs.shape[1]):
            reset_in, update_in, new_in = inputs[:, step].chunk(3, dim=-1)
            reset_by, update_by, new_by = self.state_gates(state * keep).chunk(3, dim=-1)
            update = torch.sigmoid(update_in + update_by)
            new = torch.tanh(new_in + torch.sigmoid(reset_in + reset_by) * new_by)
            valid = attention_mask[:, step].bool().unsqueeze(-1)
            state = torch.where(valid, torch.lerp(new, state, update), state)
        return state


class BertTextEncoder(nn.Module):
    """Any BERT without its pooler, averaged over the valid tokens. Our choice."""

    def __init__(self, config: GaLRConfig) -> None:
        super().__init__()
        text_config = cast(BertConfig, config.text_config)  # GaLRConfig has seen to it
        self.bert = BertModel(text_config, add_pooling_layer=False)
        self.output_dim = text_config.hidden_size

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode ids (C, T) as (C, ``output_dim``)."""
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.to(hidden.dtype).unsqueeze(-1)  # (C, T, 1)
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


TEXT_ENCODERS: dict[str, type[nn.Module]] = {
    "gru": GRUTextEncoder,
    "uni_skip": UniSkipTextEncoder,
    "bert": BertTextEncoder,
}


def prepare_text(
    input_ids: Tensor, attention_mask: Tensor | None, *, pad_token_id: int
) -> tuple[Tensor, Tensor]:
    """Return ids and mask (C, T) with at least one column; without a mask, padding ids make it."""
    if input_ids.shape[-1] == 0:
        input_ids = F.pad(input_ids, (0, 1), value=pad_token_id)
        attention_mask = None
    if attention_mask is None:
        attention_mask = (input_ids != pad_token_id).long()
    return input_ids, attention_mask
