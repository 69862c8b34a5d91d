"""The text tower's reading: masks, batches cut by length, pooling, starting weights."""

from os import PathLike

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BertConfig, BertModel
from transformers.modeling_outputs import BaseModelOutput

#: Parts of like length into which a training batch of sentences is cut.
TEXT_PARTS = 4


def word_mask(input_ids: Tensor, attention_mask: Tensor | None, config: BertConfig) -> Tensor:
    """Return the mask (C, T) of the words; without one, every id but padding is a word."""
    if attention_mask is not None:
        return attention_mask
    return (input_ids != (config.pad_token_id or 0)).long()


def read_sentences(
    bert: BertModel,
    input_ids: Tensor,
    mask: Tensor,
    token_type_ids: Tensor | None = None,
    **asked: bool,
) -> BaseModelOutput:
    """Encode sentences (C, T) as states (C, T, hidden).

    Args:
        bert: the text tower.
        input_ids: (C, T).
        mask: (C, T).
        token_type_ids: (C, T) or None.
        **asked: ``output_hidden_states`` and ``output_attentions``.
    """
    if not bert.training or len(input_ids) < TEXT_PARTS or any(asked.values()):
        return bert(
            input_ids=input_ids,
            attention_mask=mask,
            token_type_ids=token_type_ids,
            return_dict=True,
            **asked,
        )
    # A batch is as long as its longest sentence, and most are much shorter: taken whole, much of
    # the text side's time would go to padding.
    width = input_ids.shape[1]
    order = mask.sum(1).argsort()
    states = []
    for rows in order.chunk(TEXT_PARTS):
        longest = max(1, int((mask[rows] * torch.arange(1, width + 1).to(mask)).max()))
        types = None if token_type_ids is None else token_type_ids[rows, :longest]
        part = bert(
            input_ids=input_ids[rows, :longest],
            attention_mask=mask[rows, :longest],
            token_type_ids=types,
            return_dict=True,
        ).last_hidden_state
        states.append(F.pad(part, (0, 0, 0, width - longest)))
    return BaseModelOutput(last_hidden_state=torch.cat(states)[order.argsort()])


def pool_states(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Return one vector per sentence: (C, T, hidden) -> (C, hidden).

    Args:
        states: of the text tower.
        mask: (C, T).
        pooling: a value of ``config.text_pooling``.
    """
    if pooling == "cls":
        return states[:, 0]
    weights = mask.unsqueeze(-1).to(states.dtype)  # (C, T, 1)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1.0)


# Copied from rsctir_hf.models.galr.text_galr.load_bert
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
