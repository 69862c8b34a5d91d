"""The fingerprint of a model's weights; the refusals are tested with the loaders."""

import torch

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.loading.checks import weights_fingerprint


def test_fingerprint_changes_with_any_weight(clip_folder):
    model = Encoder.from_pretrained(clip_folder).model
    before = weights_fingerprint(model)
    assert before == weights_fingerprint(Encoder.from_pretrained(clip_folder).model)
    with torch.no_grad():
        model.visual_projection.weight[0, 0] += 1
    assert weights_fingerprint(model) != before
