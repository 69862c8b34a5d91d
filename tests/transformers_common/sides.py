"""What a dual encoder adds to transformers' common tests.

Three of them read ``hidden_states`` and ``attentions`` off a model's output. A dual encoder has
them on the output of each side, as ``CLIPModel`` has, whose own tests skip the three. Ours run
them, as they are, over each side in turn.
"""

from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch

from tests.transformers_common.suite import load

common = load("test_modeling_common")

BATCH = 3


@dataclass
class SideTester:
    """A side of a tiny model: what the tests call a model tester."""

    config: Any
    num_hidden_layers: int
    seq_length: int
    hidden_size: int
    num_attention_heads: int
    inputs: tuple[str, ...]
    batch_size: int = BATCH
    is_training: bool = True

    def get_config(self):
        return type(self.config)(**self.config.to_dict())

    def prepare_config_and_inputs_for_common(self):
        config = self.get_config()
        ids = common.ids_tensor([BATCH, 7], config.text_config.vocab_size)
        made = {
            "input_ids": ids.clamp(min=1),  # 0 is padding
            "attention_mask": torch.ones_like(ids),
            "pixel_values": common.floats_tensor([BATCH, 3, config.image_size, config.image_size]),
        }
        return config, {name: made[name] for name in self.inputs}


class DualEncoderTester(SideTester):
    """A tiny model, and each side of it."""

    def __init__(self, config, *, vision):
        """``vision``: layers, tokens, width and heads of the picture side."""
        text = config.text_config
        reading = (text.num_hidden_layers, 7, text.hidden_size, text.num_attention_heads)
        words = ("input_ids", "attention_mask")
        super().__init__(config, *reading, inputs=(*words, "pixel_values"))
        self.text_model_tester = SideTester(config, *reading, inputs=words)
        self.vision_model_tester = SideTester(config, *vision, inputs=("pixel_values",))


class DualEncoderTests(common.ModelTesterMixin):
    """The tests of a model, with three of them over each side."""

    _is_composite = True
    additional_model_inputs = ("pixel_values",)  # beside input_ids: both sides are compared

    @classmethod
    def setUpClass(cls):
        # As merged into transformers, they are base models like CLIPModel. Those are left out of
        # the training tests of this suite: see "Exemptions" in suite.py.
        named = {model.config_class.model_type: model.__name__ for model in cls.all_model_classes}
        names = common.MODEL_MAPPING_NAMES | named
        cls.enterClassContext(mock.patch.object(common, "MODEL_MAPPING_NAMES", names))
        super().setUpClass()

    def over_each_side(self, test):
        """Run a test with ``forward`` replaced by what embeds one side."""
        sides = {
            "get_text_features": self.model_tester.text_model_tester,
            "get_image_features": self.model_tester.vision_model_tester,
        }
        for method, tester in sides.items():
            with self.subTest(method):
                self.model_tester, self.has_attentions = tester, tester.num_attention_heads > 0
                self.all_model_classes = [
                    type(model.__name__, (model,), {"forward": getattr(model, method)})
                    for model in type(self).all_model_classes
                ]
                test()

    def test_hidden_states_output(self):
        self.over_each_side(super().test_hidden_states_output)

    def test_attention_outputs(self):
        self.over_each_side(super().test_attention_outputs)

    def test_retain_grad_hidden_states_attentions(self):
        self.over_each_side(super().test_retain_grad_hidden_states_attentions)

    def _image_features_get_expected_num_attentions(self, model_tester=None):
        tester = self.model_tester.vision_model_tester
        return tester.num_hidden_layers if tester.num_attention_heads else 0

    def _image_features_get_expected_num_hidden_states(self, model_tester=None):
        return self.model_tester.vision_model_tester.num_hidden_layers + 1
