"""The CMPAGL-style configuration: what it refuses, and that it survives its file."""

import pytest
from transformers import BertConfig

from rsctir_hf.models.cmpagl import CMPAGLConfig
from tests.models.tiny_cmpagl import tiny_config, tiny_stem_config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": [2]}, r"num_heads=\[2\] names 1 stages, depths=\[2, 2\] names 2"),
        ({"embed_dim": 9}, "Stage 0 is 9 wide .* has 2 heads"),
        ({"stem": "test_efficientnet", "stem_indices": [4]}, "names 1 levels.*names 2 stages"),
        ({"stem_skip_levels": True}, "stem=None and stem_skip=True; it needs a stem"),
        ({"global_attention": "everywhere"}, "'everywhere'.*'cross'"),
        ({"projection_layers": 3}, r"projection_layers=3; expected one of \(1, 2\)"),
        ({"window_size": 0}, "window_size=0; expected at least 1"),
        ({"drop_path_rate": 1.0}, "drop_path_rate=1.0; expected 0 <="),
        ({"smr_temperature": 0.0}, "smr_temperature=0.0"),
    ],
)
def test_contradicting_values_are_refused_with_both_numbers(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(**changes)


def test_a_configuration_survives_its_file(tmp_path):
    config = tiny_stem_config(smr_temperature=0.3, training_images="drawn by hand")
    config.save_pretrained(tmp_path)
    again = CMPAGLConfig.from_pretrained(tmp_path)
    assert isinstance(again.text_config, BertConfig)
    ignored = {"_name_or_path", "transformers_version"}
    found, expected = again.to_dict(), config.to_dict()
    assert {k: v for k, v in found.items() if k not in ignored} == {
        k: v for k, v in expected.items() if k not in ignored
    }
