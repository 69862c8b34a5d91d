"""Embedding pictures and sentences with a tiny CLIP, also averaged over a picture's symmetries."""

import threading
import time

import pytest
import torch
from PIL import Image
from torch import nn

from rsctir_hf.embedding import encode
from rsctir_hf.embedding.encode import evaluating
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.prepare import region_source
from rsctir_hf.errors import QueryError
from rsctir_hf.files.pictures import SYMMETRIES, turned


def test_pictures_become_unit_vectors_in_the_order_given(tiny_encoder, picture_folder):
    paths = sorted(picture_folder.iterdir())
    found = tiny_encoder.images(paths, batch_size=3)
    alone = tiny_encoder.images([paths[4]])
    assert found.kept == tuple(range(len(paths)))
    assert found.vectors.shape == (len(paths), 16)
    torch.testing.assert_close(found.vectors.norm(dim=1), torch.ones(len(paths)))
    torch.testing.assert_close(found.vectors[4], alone.vectors[0], atol=1e-5, rtol=0)


def test_averaged_vectors_are_the_means_of_eight_views_whichever_way_up(tiny_encoder, picture):
    views = [turned(picture, symmetry) for symmetry in SYMMETRIES]
    each = tiny_encoder.images(views).vectors
    mean = each.mean(dim=0) / each.mean(dim=0).norm()
    found = tiny_encoder.images(views, batch_size=3, symmetries=8).vectors
    assert (each - each[0]).abs().max() > 1e-3
    torch.testing.assert_close(found, mean.expand(8, -1), atol=1e-5, rtol=0)
    once = tiny_encoder.images(views, symmetries=1).vectors
    assert torch.equal(once, each)


@pytest.mark.parametrize("count", [0, 2, 9])
def test_other_numbers_of_symmetries_are_refused(tiny_encoder, count):
    with pytest.raises(QueryError, match=f"symmetries is {count}; expected 1 .* or 8"):
        tiny_encoder.images([], symmetries=count)


def test_unreadable_pictures_are_skipped_and_listed(tiny_encoder, picture_folder):
    (picture_folder / "empty.png").touch()
    (picture_folder / "text.png").write_text("no picture")
    paths = [picture_folder / name for name in ("empty.png", "red.png", "text.png", "blue.png")]
    found = tiny_encoder.images(paths, batch_size=2)
    assert found.kept == (1, 3)
    assert len(found.vectors) == 2
    assert [skipped.path for skipped in found.skipped] == [str(paths[0]), str(paths[2])]
    assert "0 bytes" in found.skipped[0].reason


def test_a_batch_without_a_readable_picture_does_no_harm(tiny_encoder, tmp_path):
    (tmp_path / "a.png").touch()
    for count in (1, 8):
        found = tiny_encoder.images([tmp_path / "a.png"], symmetries=count)
        assert len(found.vectors) == 0
        assert len(found.skipped) == 1


def test_sentences_keep_their_order_whatever_their_length(tiny_encoder):
    texts = ["a very many boats beside the river", "pier", "green tennis courts", "pier"]
    together = tiny_encoder.texts(texts, batch_size=2)
    for text, vector in zip(texts, together, strict=True):
        alone = tiny_encoder.texts([text])[0]
        torch.testing.assert_close(vector, alone, atol=1e-5, rtol=0)


def test_a_very_long_sentence_is_cut_to_the_models_window(tiny_encoder):
    assert tiny_encoder.texts(["boats " * 10_000]).shape == (1, 16)


def test_progress_is_told_done_and_total(tiny_encoder):
    told = []
    pictures = [Image.new("RGB", (8, 8))] * 5
    tiny_encoder.images(pictures, batch_size=2, progress=lambda *x: told.append(x))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_each_module_gets_its_own_mode_back():
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    model.train()
    model[1].eval()
    with pytest.raises(KeyError), evaluating(model):
        assert not model[0].training
        raise KeyError
    assert model.training and model[0].training and not model[1].training


def test_a_model_without_region_branch_uses_no_regions(tiny_clip):
    assert region_source(tiny_clip).name == "none"


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_vectors_are_the_same_to_the_last_bit_whatever_the_number_of_workers(
    tiny_encoder, picture_folder, two_threads
):
    paths, sentences = sorted(picture_folder.iterdir()), [f"a boat {'x ' * n}" for n in range(9)]
    one = tiny_encoder.images(paths, batch_size=2, workers=1).vectors
    said = tiny_encoder.texts(sentences, batch_size=2, workers=1)
    for workers in (2, 5):
        found = tiny_encoder.images(paths, batch_size=2, workers=workers).vectors
        assert torch.equal(found, one)
        assert torch.equal(tiny_encoder.texts(sentences, batch_size=2, workers=workers), said)
    # The caller's own threads share each layer, and may add up in another order.
    alone = tiny_encoder.images(paths, batch_size=2, workers=0).vectors
    torch.testing.assert_close(alone, one, atol=1e-6, rtol=0)


def test_batches_are_embedded_at_the_same_time_in_threads_of_one_processor(
    tiny_encoder, picture_folder, two_threads, monkeypatch
):
    together, seen = threading.Barrier(2, timeout=30), []

    def embed(model, prepared):
        together.wait()  # for a second batch
        seen.append((threading.current_thread().name, torch.get_num_threads()))
        return torch.ones(len(prepared.kept), 16)

    monkeypatch.setattr(encode, "embed_prepared", embed)
    paths = sorted(picture_folder.iterdir())
    assert len(tiny_encoder.images(paths, batch_size=2, workers=2).vectors) == len(paths)
    assert {threads for _, threads in seen} == {1}
    assert len({name for name, _ in seen}) == 2


def test_a_model_that_may_not_be_safe_in_threads_runs_in_one_at_a_time(
    tiny_encoder, picture_folder, two_threads
):
    class Other(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model, self.config, self.inside, self.names = model, model.config, 0, set()

        def get_image_features(self, **inputs):
            self.inside += 1
            assert self.inside == 1
            self.names.add(threading.current_thread().name)
            time.sleep(0.01)
            self.inside -= 1
            return self.model.get_image_features(**inputs)

        def get_text_features(self, **inputs):
            return self.model.get_text_features(**inputs)

    other = Other(tiny_encoder.model)
    encoder = Encoder(other, tiny_encoder.processor)
    paths = sorted(picture_folder.iterdir())
    encoder.images(paths, batch_size=1)
    assert other.names == {threading.current_thread().name}
    found = encoder.images(paths, batch_size=1, workers=3).vectors
    assert len(other.names) > 1
    expected = tiny_encoder.images(paths, batch_size=1).vectors
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_captions_that_are_cut_are_counted(tiny_encoder, caplog):
    long = "a pier " * 500
    model, processor = tiny_encoder.model, tiny_encoder.processor
    assert encode.tell_cut(model, processor, ["a pier", long, "boats", long]) == 2
    assert "2 of 4 captions are longer than the" in caplog.text
    caplog.clear()
    assert (
        encode.tell_cut(model, processor, ["a pier"]) == encode.tell_cut(model, processor, []) == 0
    )
    assert caplog.text == ""
    assert tiny_encoder.texts([long]).shape == (1, 16)
