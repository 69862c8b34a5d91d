"""Text sides of GaLR: the paper's bidirectional GRU, the released uni-skip GRU, and BERT.

Each takes token ids (C, T) with a mask (C, T) and returns its states (C, T, ``output_dim``) as
``last_hidden_state`` and one vector per caption, (C, ``output_dim``), as ``pooler_output``. Padding
stands on the right and changes nothing. ``output_hidden_states`` and ``output_attentions`` are what
``GaLRModel.get_text_features`` was asked for; a GRU has no attention.
"""

from os import PathLike
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import BertConfig, BertModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .configuration_galr import GaLRConfig
from .outputs_galr import asked_for, wants


class WordTable(nn.Module):
    """What both GRUs have: a word table and its configuration.

    Attributes:
        embedding: (vocab_size, embedding_dim).
    """

    def __init__(self, config: GaLRConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(
            config.vocab_size, config.embedding_dim, padding_idx=config.pad_token_id
        )
        self.dropout = nn.Dropout(config.text_dropout)

    def get_input_embeddings(self) -> nn.Module:
        """Return the word table."""
        return self.embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word table."""
        self.embedding = value

    @torch.no_grad()
    def load_word_vectors(self, vectors: Tensor, known: Tensor | None = None) -> None:
        """Start the word table from vectors such as GloVe's.

        Rows of unknown words keep their random direction, at the spread of the known vectors.

        Args:
            vectors: (vocab_size, embedding_dim), row i for token id i.
            known: (vocab_size,) bool, false where ``vectors`` has no entry; ``None``: all known.

        Raises:
            ValueError: if the shapes do not fit.
        """
        table = self.embedding.weight
        if vectors.shape != table.shape:
            raise ValueError(
                f"Word vectors are {tuple(vectors.shape)}; the model's table is "
                f"{tuple(table.shape)} (vocab_size, embedding_dim)."
            )
        vectors = vectors.to(table)
        known = torch.ones(len(vectors), dtype=torch.bool) if known is None else known
        spread = vectors[known].std() / table.std().clamp(min=torch.finfo(table.dtype).tiny)
        table.copy_(torch.where(known.to(table.device).unsqueeze(-1), vectors, table * spread))
        table[self.config.pad_token_id or 0] = 0.0

    def _output(
        self, words: Tensor, states: Tensor, pooled: Tensor, *, hidden: bool | None
    ) -> BaseModelOutputWithPooling:
        """Put words and states (C, T, .) and the vectors (C, ``output_dim``) together."""
        if wants(self.config, "hidden_states", hidden):
            return BaseModelOutputWithPooling(states, pooled, (words, states))
        return BaseModelOutputWithPooling(states, pooled)


class GRUTextEncoder(WordTable):
    """Bidirectional GRU: per step the mean of both directions, then the mean over steps.

    Source: the paper's figure; widths from AMFMN (embedding 300, hidden 512).
    """

    def __init__(self, config: GaLRConfig) -> None:
        super().__init__(config)
        width = config.embedding_projection_dim or config.embedding_dim
        self.embedding_projection = (
            nn.Linear(config.embedding_dim, width)
            if config.embedding_projection_dim
            else nn.Identity()
        )
        self.gru = nn.GRU(width, config.text_hidden_size, batch_first=True, bidirectional=True)
        self.output_dim = config.text_hidden_size

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        *,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """Encode ids (C, T); a hidden state of padding is zero."""
        # A caption without words counts as one padding token: its vector is finite.
        lengths = attention_mask.sum(dim=-1).clamp(min=1)  # (C,)
        words = self.dropout(self.embedding_projection(self.embedding(input_ids)))
        run = self._run_unpacked if torch.compiler.is_compiling() else self._run_packed
        states = run(words, lengths)  # (C, T, hidden)
        pooled = states.sum(dim=1) / lengths.unsqueeze(-1)  # (C, hidden)
        return self._output(words, states, pooled, hidden=output_hidden_states)

    def _run_packed(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Run the GRU over words (C, T, embedding): the mean of both ways, (C, T, hidden)."""
        packed = pack_padded_sequence(words, lengths.cpu(), batch_first=True, enforce_sorted=False)
        whole = words.shape[1]
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=whole)
        return states.unflatten(-1, (2, -1)).mean(dim=-2)  # (C, T, hidden)

    def _run_unpacked(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Do the same without packing, which cannot be exported, at twice the time.

        Forwards the padding comes last and is left out; backwards the words are moved to the right,
        so that it comes last there too, and their states back again.
        """
        width, places = self.output_dim, torch.arange(words.shape[1], device=words.device)
        lengths = lengths.unsqueeze(-1)  # (C, 1)
        missing = words.shape[1] - lengths
        right = (places - missing).clamp(min=0).unsqueeze(-1).expand_as(words)  # (C, T, embedding)
        left = (places + missing).clamp(max=words.shape[1] - 1).unsqueeze(-1)
        ahead = self.gru(words)[0][..., :width]
        back = self.gru(words.gather(1, right))[0][..., width:]
        back = back.gather(1, left.expand(-1, -1, width))  # (C, T, hidden)
        return (ahead + back) / 2 * (places < lengths).unsqueeze(-1)


class UniSkipTextEncoder(WordTable):
    """One-directional GRU with one bias per gate and dropout masks fixed over a caption.

    Source: the released code's uni-skip (skip-thoughts) encoder with Bayesian dropout: 620-d
    words, hidden 2400, last valid state. Its starting weights can no longer be had. ``nn.GRU``
    can neither drop the state nor leave out the second bias, hence the loop.
    """

    def __init__(self, config: GaLRConfig) -> None:
        super().__init__(config)
        hidden = config.text_hidden_size
        self.input_gates = nn.Linear(config.embedding_dim, 3 * hidden)
        self.state_gates = nn.Linear(hidden, 3 * hidden, bias=False)
        self.output_dim = hidden

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        *,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """Encode ids (C, T); the vector is the last valid state, which padding repeats."""
        words = self.embedding(input_ids)  # (C, T, embedding)
        words = words * self.dropout(torch.ones_like(words[:, :1]))
        inputs = self.input_gates(words)  # (C, T, 3 * hidden)
        state = inputs.new_zeros(len(inputs), self.output_dim)  # (C, hidden)
        keep = self.dropout(torch.ones_like(state))
        states = []
        for step in range(inputs.shape[1]):
            reset_in, update_in, new_in = inputs[:, step].chunk(3, dim=-1)
            reset_by, update_by, new_by = self.state_gates(state * keep).chunk(3, dim=-1)
            update = torch.sigmoid(update_in + update_by)
            new = torch.tanh(new_in + torch.sigmoid(reset_in + reset_by) * new_by)
            valid = attention_mask[:, step].bool().unsqueeze(-1)
            state = torch.where(valid, torch.lerp(new, state, update), state)
            states.append(state)
        return self._output(words, torch.stack(states, dim=1), state, hidden=output_hidden_states)


class BertTextEncoder(nn.Module):
    """Any BERT without its pooler, averaged over the valid tokens. Our choice."""

    def __init__(self, config: GaLRConfig) -> None:
        super().__init__()
        text_config = cast(BertConfig, config.text_config)  # GaLRConfig has seen to it
        self.bert = BertModel(text_config, add_pooling_layer=False)
        self.output_dim = text_config.hidden_size

    def get_input_embeddings(self) -> nn.Module:
        """Return the word table."""
        return self.bert.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word table."""
        self.bert.set_input_embeddings(value)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        *,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """Encode ids (C, T)."""
        asked = asked_for(hidden_states=output_hidden_states, attentions=output_attentions)
        encoded = self.bert(
            input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **asked
        )
        states = encoded.last_hidden_state  # (C, T, hidden)
        weights = attention_mask.to(states.dtype).unsqueeze(-1)  # (C, T, 1)
        pooled = (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        return BaseModelOutputWithPooling(
            last_hidden_state=states,
            pooler_output=pooled,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


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


def load_bert(bert: BertModel, source: str | PathLike) -> None:
    """Start a text tower from pretrained weights.

    Args:
        bert: the tower.
        source: name or folder of a BERT with the tower's sizes; of its layers the first are taken.

    Raises:
        ValueError: the weights do not fit.
    """
    pretrained = BertModel.from_pretrained(
        source,
        add_pooling_layer=False,
        dtype=bert.dtype,
        num_hidden_layers=bert.config.num_hidden_layers,
    )
    try:
        bert.load_state_dict(pretrained.state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"{source} does not fit config.text_config; build the configuration with "
            f"BertConfig.from_pretrained({str(source)!r}). {error}"
        ) from error
