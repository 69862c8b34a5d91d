"""transformers' common tests over GaLR."""

import unittest

from transformers import BertConfig

from rsctir_hf.models.galr import GaLRConfig, GaLRModel
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
SIZES = {
    "backbone": "test_efficientnet",
    "image_size": 64,
    "mvsa_grid": 4,
    "max_regions": 5,
    "region_dim": 8,
    "graph_dims": [6, 6],
    "fusion_dim": 16,
    "projection_dim": 12,
    "text_encoder_type": "bert",
}
VISION = (3, 16, 16, 0)  # four levels, the first 16 x 16; no attention


class GaLRModelTest(DualEncoderTests, unittest.TestCase):
    all_model_classes = (GaLRModel,)
    # timm knows how wide the backbone's last level is, the configuration does not.
    skip_test_image_features_output_shape = True

    def setUp(self):
        config = GaLRConfig(text_config=TEXT.to_dict(), **SIZES)
        self.model_tester = DualEncoderTester(config, vision=VISION)

    def test_config(self):
        tester = load("test_configuration_common").ConfigTester(
            self, config_class=GaLRConfig, has_text_modality=False, **SIZES
        )
        tester.run_common_tests()
