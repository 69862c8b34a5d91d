"""transformers' common tests over CMPAGL-style models."""

import unittest

from transformers import BertConfig

from rsctir_hf.models.cmpagl import CMPAGLConfig, CMPAGLModel
from tests.transformers_common.sides import DualEncoderTester, DualEncoderTests
from tests.transformers_common.suite import load

TEXT = BertConfig(
    vocab_size=99,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=40,
)
# A map of 4 x 4 tokens in four windows of 4, then one of 2 x 2: a window has as many tokens as the
# first map has columns, since the tests know one length only.
SIZES = {
    "image_size": 16,
    "embed_dim": 8,
    "depths": [2, 2],
    "num_heads": [2, 2],
    "window_size": 2,
    "mlp_ratio": 2.0,
    "projection_dim": 12,
    "fusion_layers": 1,
}
VISION = (4, 4, 8, 2)  # layers, tokens of a window, width at the start, heads


class CMPAGLModelTest(DualEncoderTests, unittest.TestCase):
    all_model_classes = (CMPAGLModel,)

    def setUp(self):
        config = CMPAGLConfig(text_config=TEXT.to_dict(), **SIZES)
        self.model_tester = DualEncoderTester(config, vision=VISION)

    def test_config(self):
        tester = load("test_configuration_common").ConfigTester(
            self, config_class=CMPAGLConfig, has_text_modality=False, **SIZES
        )
        tester.run_common_tests()
