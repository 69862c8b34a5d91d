"""Models pushed by ``rsctir push``, loaded by their ids with and without the package."""

import json

import pytest
import torch

from rsctir_hf.embedding.encoder import Encoder
from tests import miniature
from tests.loopback_hub.conftest import TEXTS

pytestmark = pytest.mark.slow

OLDER, NEWER = 0, 1


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = miniature.write_pictures(tmp_path_factory.mktemp("image"), ["a.png"], side=64)
    return folder / "a.png"


@pytest.fixture(scope="module", params=[True, False], ids=["with-package", "without-package"])
def answers(request, pushed, image, new_client):
    """What a process finds for every model: at main, and older by branch and by commit."""
    asked = [
        (pushed.ids[family], revision)
        for family in pushed.ids
        for revision in (None, "first", pushed.commits[family][OLDER])
    ]
    found = new_client().script(
        "load_models.py",
        {"package": request.param, "models": asked, "image": str(image), "texts": TEXTS},
    )
    return dict(zip(asked, found, strict=True))


@pytest.fixture(scope="module")
def local(pushed, image):
    """The vectors of the folders that were pushed."""

    @torch.no_grad()
    def vectors(folder):
        loaded = Encoder.from_pretrained(folder)
        picture = miniature.draw_picture(0, side=64)
        inputs = loaded.processor(images=[picture], text=list(TEXTS), return_tensors="pt")
        return loaded.model(**inputs)

    return {family: [vectors(folder) for folder in pushed.folders[family]] for family in pushed.ids}


def close(found, expected):
    return torch.allclose(torch.tensor(found), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["cmpagl", "galr"])
def test_a_model_comes_back_from_the_hub_as_it_was_pushed(answers, local, pushed, family):
    found, expected = answers[pushed.ids[family], None], local[family][NEWER]
    assert close(found["image"], expected.image_embeds)
    assert close(found["text"], expected.text_embeds)


@pytest.mark.parametrize("family", ["cmpagl", "galr"])
def test_the_code_is_the_packages_own_where_it_is_installed(answers, pushed, family, request):
    package = "with-package" in request.node.callspec.id
    module = answers[pushed.ids[family], None]["module"]
    assert module.startswith("rsctir_hf.models." if package else "transformers_modules.")


@pytest.mark.parametrize("family", ["cmpagl", "galr"])
def test_a_pinned_revision_is_the_older_model(answers, local, pushed, family):
    name, older = pushed.ids[family], local[family][OLDER]
    for revision in ("first", pushed.commits[family][OLDER]):
        assert close(answers[name, revision]["image"], older.image_embeds)
        assert close(answers[name, revision]["text"], older.text_embeds)
    assert not close(answers[name, None]["text"], older.text_embeds)


@pytest.mark.parametrize("family", ["cmpagl", "galr"])
def test_the_classification_pipeline_gives_our_probabilities(answers, local, pushed, family):
    found = answers[pushed.ids[family], None]
    expected = local[family][NEWER].logits_per_image.softmax(dim=1)[0]
    assert close([found["classes"][text] for text in TEXTS], expected)


@pytest.mark.parametrize("family", ["cmpagl", "galr"])
def test_sentence_transformers_gives_our_vectors(answers, local, pushed, family):
    found, expected = answers[pushed.ids[family], None], local[family][NEWER]
    assert close(found["st_image"], expected.image_embeds)
    assert close(found["st_text"], expected.text_embeds)


def test_an_index_is_searched_with_the_very_commit_that_made_it(pushed):
    older = pushed.commits["cmpagl"][OLDER]
    assert json.loads((pushed.index / "index.json").read_text())["model_revision"] == older
    assert pushed.found["model_revision"] == older
    assert len(pushed.found["hits"]) == 2
