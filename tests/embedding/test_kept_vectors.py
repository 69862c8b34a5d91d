"""Vectors of sentences that an earlier run kept, and those that ship."""

import copy
import logging
import os
from itertools import product

import pytest
import torch
from torch.nn import functional as F

from rsctir_hf.embedding import kept_vectors
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.kept_vectors import (
    kept_texts,
    pictures_name,
    read_vectors,
    shipped_pictures,
    texts_name,
    vectors_file,
)
from rsctir_hf.files.pictures import list_images
from tests.conftest import WORDS

BANK = [" ".join(words) for words in product(WORDS[:9], WORDS[1:9])]  # 72 sentences


class Counting(Encoder):
    """An encoder that knows how many sentences it has embedded."""

    counted = 0

    def texts(self, texts, **options):
        Counting.counted += len(texts)
        return super().texts(texts, **options)


@pytest.fixture
def encoder(tiny_encoder):
    Counting.counted = 0
    return Counting(tiny_encoder.model, tiny_encoder.processor)


def test_a_bank_is_embedded_once_and_read_to_the_last_bit_by_the_next_run(cache, encoder):
    first = kept_texts(encoder, BANK)
    assert Counting.counted == 72
    assert torch.equal(kept_texts(encoder, BANK), first)
    assert Counting.counted == 72
    assert torch.equal(first, encoder.texts(BANK))
    assert [file.parent.name for file in cache.rglob("*.safetensors")] == ["caption_banks"]


def test_another_bank_or_another_model_is_embedded_anew(cache, encoder):
    kept_texts(encoder, BANK)
    kept_texts(encoder, BANK[::-1])
    assert Counting.counted == 144
    other = copy.deepcopy(encoder.model)
    with torch.no_grad():
        other.text_projection.weight.neg_()
    moved = kept_texts(Counting(other, encoder.processor), BANK)
    assert Counting.counted == 216
    torch.testing.assert_close(moved, -encoder.texts(BANK))


def test_a_tokenizer_that_reads_otherwise_is_another_bank(encoder, tiny_clip_processor):
    before = texts_name(encoder, BANK)
    tokenizer = copy.deepcopy(tiny_clip_processor.tokenizer)
    tokenizer.model_max_length = 2
    processor = copy.copy(tiny_clip_processor)
    processor.tokenizer = tokenizer
    assert texts_name(Encoder(encoder.model, processor), BANK) != before


@pytest.mark.parametrize("damage", ["cut short", "a bit", "nothing", "no vectors", "a folder"])
def test_a_damaged_file_is_said_and_made_anew(cache, encoder, caplog, damage):
    right = kept_texts(encoder, BANK)
    file = next(cache.rglob("*.safetensors"))
    content = bytearray(file.read_bytes())
    if damage == "a folder":
        file.unlink()
        file.mkdir()
    elif damage == "a bit":
        content[-3] ^= 1
        file.write_bytes(content)
    else:
        wrong = vectors_file(torch.zeros(3, 4))
        file.write_bytes(
            {"cut short": bytes(content[:-9]), "nothing": b"", "no vectors": wrong}[damage]
        )
    with caplog.at_level(logging.WARNING):
        assert torch.equal(kept_texts(encoder, BANK), right)
    assert "damaged" in caplog.text
    if damage != "a folder":
        assert torch.equal(read_vectors(file, 72), right)


def test_a_few_sentences_or_a_caller_who_wants_none_leave_nothing(cache, encoder):
    kept_texts(encoder, BANK[:63])
    kept_texts(encoder, BANK, keep=False)
    assert not cache.exists()


def test_without_a_cache_the_bank_is_embedded_each_time(cache, encoder, monkeypatch):
    monkeypatch.setenv("RSCTIR_NO_CACHE", "1")
    for _ in range(2):
        kept_texts(encoder, BANK)
    assert Counting.counted == 144
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(
    cache, encoder, monkeypatch, read_only
):
    monkeypatch.setattr("rsctir_hf.files.cache.HF_HOME", str(read_only))
    assert torch.equal(kept_texts(encoder, BANK), encoder.texts(BANK))
    assert os.listdir(read_only) == []


@pytest.fixture
def shipped(tiny_encoder, picture_folder, tmp_path, monkeypatch):
    """Half-precision vectors of the picture folder, as if they came with the package."""
    paths = list_images(picture_folder)
    made = tiny_encoder.images(paths).vectors
    folder = tmp_path / "vectors"
    folder.mkdir()
    file = folder / pictures_name(tiny_encoder, paths)
    file.write_bytes(vectors_file(made.half()))
    monkeypatch.setattr(kept_vectors, "VECTORS_FOLDER", folder)
    return paths, made, file


def test_pictures_that_ship_have_the_vectors_that_the_model_would_give(tiny_encoder, shipped):
    paths, made, _ = shipped
    found = shipped_pictures(tiny_encoder, paths)
    torch.testing.assert_close(found, made, atol=5e-4, rtol=0)
    torch.testing.assert_close(F.normalize(found, dim=-1), found)


def test_other_pictures_under_the_same_names_are_embedded(tiny_encoder, shipped):
    paths, _, _ = shipped
    paths[3].write_bytes(paths[4].read_bytes())
    assert shipped_pictures(tiny_encoder, paths) is None
    paths[3].unlink()
    assert shipped_pictures(tiny_encoder, paths) is None


def test_vectors_that_the_model_does_not_give_here_are_passed_over(tiny_encoder, shipped):
    paths, made, file = shipped
    file.write_bytes(vectors_file(made.roll(1, dims=0)))
    assert shipped_pictures(tiny_encoder, paths) is None
