"""Text sides of GaLR against plain recurrences; padding and empty captions."""

import pytest
import torch
from torch import nn
from transformers import BertConfig

from rsctir_hf.models.galr import GaLRConfig
from rsctir_hf.models.galr.text_galr import (
    TEXT_ENCODERS,
    GRUTextEncoder,
    UniSkipTextEncoder,
    prepare_text,
)
from tests.models.contract import assert_close

IDS = torch.tensor([[3, 4, 5, 0], [6, 7, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])


def tiny_config(**settings):
    bert = BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    small = {"vocab_size": 20, "embedding_dim": 6, "text_hidden_size": 10, "text_config": bert}
    return GaLRConfig(**{**small, **settings})


def test_gru_is_the_mean_of_both_directions_over_the_words():
    encoder = GRUTextEncoder(tiny_config()).eval()
    found = encoder(IDS, MASK).pooler_output
    for row, words in enumerate((IDS[:1, :3], IDS[1:, :2])):
        states = encoder.gru(encoder.embedding(words))[0][0]  # (T, 2 * hidden)
        assert_close(found[row], ((states[:, :10] + states[:, 10:]) / 2).mean(0))


def test_uni_skip_equals_torch_gru_with_one_bias():
    encoder = UniSkipTextEncoder(tiny_config()).eval()
    gru = nn.GRU(6, 10, batch_first=True)
    gru.weight_ih_l0, gru.bias_ih_l0 = encoder.input_gates.weight, encoder.input_gates.bias
    gru.weight_hh_l0 = encoder.state_gates.weight
    nn.init.zeros_(gru.bias_hh_l0)
    found = encoder(IDS, MASK).pooler_output
    for row, words in enumerate((IDS[:1, :3], IDS[1:, :2])):
        assert_close(found[row], gru(encoder.embedding(words))[1][0, 0])


def test_uni_skip_drops_the_same_units_at_every_step():
    torch.manual_seed(0)
    encoder = UniSkipTextEncoder(tiny_config(text_dropout=0.5)).train()
    seen = []
    encoder.state_gates.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0] == 0))
    encoder(torch.tensor([[3, 4, 5, 6]]), torch.ones(1, 4))
    assert torch.equal(seen[1], seen[2]) and torch.equal(seen[2], seen[3]) and seen[1].any()


def test_word_vectors_can_be_narrower_than_the_gru():
    encoder = GRUTextEncoder(tiny_config(embedding_dim=5, embedding_projection_dim=9))
    assert encoder.embedding.weight.shape == (20, 5)
    assert encoder.gru.input_size == 9


@pytest.mark.parametrize("name", TEXT_ENCODERS)
def test_padding_and_company_change_nothing(name):
    torch.manual_seed(0)
    encoder = TEXT_ENCODERS[name](tiny_config()).eval()
    together = encoder(IDS, MASK).pooler_output
    longer = nn.functional.pad(IDS, (0, 3))
    padded = encoder(*prepare_text(longer, None, pad_token_id=0)).pooler_output
    assert_close(padded, together)
    assert_close(encoder(IDS[1:, :2], MASK[1:, :2]).pooler_output[0], together[1])


@pytest.mark.parametrize("name", TEXT_ENCODERS)
def test_captions_without_words_give_finite_vectors(name):
    encoder = TEXT_ENCODERS[name](tiny_config()).eval()
    for ids in (torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, 3, dtype=torch.long)):
        found = encoder(*prepare_text(ids, None, pad_token_id=0))
        assert torch.isfinite(found.pooler_output).all()


def test_the_gru_without_packing_has_the_same_states(monkeypatch):
    encoder = GRUTextEncoder(tiny_config()).eval()
    packed = encoder(IDS, MASK, output_hidden_states=True)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    unpacked = encoder(IDS, MASK, output_hidden_states=True)
    assert_close(unpacked.last_hidden_state, packed.last_hidden_state)
    assert_close(unpacked.pooler_output, packed.pooler_output)
    assert packed.last_hidden_state.shape == (2, 4, 10)
    assert not packed.last_hidden_state[~MASK.bool()].any()
    assert [states.shape[-1] for states in packed.hidden_states] == [6, 10]
