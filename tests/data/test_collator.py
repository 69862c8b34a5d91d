"""Rows of an epoch become model inputs, the same in every process."""

import io
import pickle

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from rsctir_hf.data.augmentation import Augmentation
from rsctir_hf.data.collator import (
    EpochView,
    RetrievalCollator,
    RowDrawer,
    TrainingRow,
    draw_captions,
    drop_words,
    find_positives,
)
from rsctir_hf.data.sampler import CaptionAwareSampler
from rsctir_hf.data.tables import standardise
from rsctir_hf.errors import ImageReadError
from rsctir_hf.models.cmpagl import CMPAGLProcessor
from rsctir_hf.models.galr import GaLRProcessor, build_word_tokenizer
from rsctir_hf.regions.proposer import Regions
from tests.miniature import draw_picture, hub_table, sentences


def stub_processor(images, text, return_tensors):
    """Picture sums and caption lengths stand in for pixels and tokens."""
    assert return_tensors == "pt"
    return {
        "pixel_values": torch.tensor([float(np.asarray(image).sum()) for image in images]),
        "input_ids": torch.tensor([[len(caption)] for caption in text]),
        "attention_mask": torch.ones(len(text), 1, dtype=torch.int64),
    }


@pytest.fixture
def rows():
    return [{"image": draw_picture(n), "captions": sentences(n)} for n in range(6)]


def signature(row):
    return np.asarray(row.image).tobytes(), row.captions, row.row


def test_index_says_epoch_and_row(rows):
    view = EpochView(rows, draw=RowDrawer(seed=0, augmentation=Augmentation()))
    assert len(view) == 6
    assert view[2 * 6 + 4].row == 4
    assert view[2 * 6 + 4].all_captions == tuple(sentences(4))


def test_epochs_differ_and_repeat_exactly(rows):
    view = EpochView(rows, draw=RowDrawer(seed=0, augmentation=Augmentation(crop_scale=(0.5, 1.0))))
    again = EpochView(
        rows, draw=RowDrawer(seed=0, augmentation=Augmentation(crop_scale=(0.5, 1.0)))
    )
    first, second = ([signature(view[e * 6 + r]) for r in range(6)] for e in (0, 1))
    assert first != second
    assert [signature(again[6 + r]) for r in reversed(range(6))][::-1] == second
    other = EpochView(
        rows, draw=RowDrawer(seed=1, augmentation=Augmentation(crop_scale=(0.5, 1.0)))
    )
    assert [signature(other[r]) for r in range(6)] != first


def test_worker_processes_and_cache_see_the_same_rows(rows):
    draw = RowDrawer(seed=0, augmentation=Augmentation(colour_jitter=0.1))
    plain, cached = EpochView(rows, draw=draw), EpochView(rows, draw=draw, cache=True)
    indices = [e * 6 + r for e in (0, 1) for r in (3, 1, 5)]
    expected = [signature(plain[index]) for index in indices]
    assert [signature(cached[index]) for index in indices] == expected
    loader = DataLoader(
        plain, sampler=indices, batch_size=2, num_workers=2, collate_fn=lambda batch: batch
    )
    assert [signature(row) for batch in loader for row in batch] == expected


def test_pickled_view_leaves_its_cache_behind(rows):
    view = EpochView(rows, draw=RowDrawer(seed=0), cache=True)
    view[0]
    copy = pickle.loads(pickle.dumps(view))
    assert len(view._pictures) == 1
    assert len(copy._pictures) == 0
    assert signature(copy[0]) == signature(view[0])


def test_view_reads_what_datasets_itself_would_decode_otherwise():
    deep = Image.fromarray((np.arange(1024).reshape(32, 32) * 4).astype(np.uint16))
    stream = io.BytesIO()
    deep.save(stream, "PNG")
    table = datasets.Dataset.from_dict(
        {"image": [{"bytes": stream.getvalue(), "path": None}], "captions": [["a ramp"]]},
        features=datasets.Features(
            image=datasets.Image(), captions=datasets.List(datasets.Value("string"))
        ),
    )
    values = np.asarray(EpochView(table, draw=RowDrawer(seed=0))[0].image)
    assert values.shape == (32, 32, 3)
    assert values.max() == 255


def test_view_of_a_table_gives_captions_for_the_sampler():
    view = EpochView(standardise(hub_table(3), source="hub"), draw=RowDrawer(seed=0))
    assert view.caption_sets == [sentences(n) for n in range(3)]


def test_view_of_several_sets_counts_rows_through_and_says_whose_they_are(rows):
    table = standardise(hub_table(3, first=20), source="hub")
    view = EpochView(rows, table, draw=RowDrawer(seed=0))
    assert len(view) == 9
    assert view.groups == [0] * 6 + [1] * 3
    assert view.caption_sets == [sentences(n) for n in (*range(6), *range(20, 23))]
    second = view[9 + 7]  # row 7 in epoch 1: the second picture of the table
    assert (second.row, second.all_captions) == (7, tuple(sentences(21)))
    assert np.array_equal(np.asarray(second.image), np.asarray(draw_picture(21)))


def test_broken_picture_is_named_with_its_row():
    rows = [{"image": b"junk", "captions": ["a"], "file_name": "b.jpg"}]
    with pytest.raises(ImageReadError, match=r"Row 0 \(b\.jpg\) of the training data"):
        EpochView(rows, draw=RowDrawer(seed=0))[0]


def test_captions_are_drawn_evenly_over_epochs():
    rows = [{"image": draw_picture(0), "captions": sentences(0)}]
    view = EpochView(rows, draw=RowDrawer(seed=0))
    drawn = [view[epoch].captions[0] for epoch in range(500)]
    counts = [drawn.count(sentence) for sentence in sentences(0)]
    # 100 expected each; the standard deviation is sqrt(500 * 0.2 * 0.8) = 9.
    assert sum(counts) == 500
    assert all(60 < count < 140 for count in counts)


def test_no_sentence_is_drawn_twice_for_one_picture():
    repeated = ["Many boats .", "many boats.", "A pier .", "many boats ."]
    for seed in range(20):
        drawn = draw_captions(repeated, 3, np.random.default_rng(seed))
        assert len(drawn) == 2


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 0, "captions_per_image": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        RowDrawer(**wrong)


def test_negative_index_is_refused(rows):
    with pytest.raises(IndexError):
        EpochView(rows, draw=RowDrawer(seed=0))[-1]


def test_collator_counts_captions_not_fives():
    rows = [
        TrainingRow(draw_picture(0), ("a", "b"), ("a", "b"), ("a", "b", "c"), 0),
        TrainingRow(draw_picture(1), ("d",), ("d",), ("d",), 1),
        TrainingRow(draw_picture(2), ("e", "c"), ("e", "c"), ("e", "C ."), 2),
    ]
    batch = RetrievalCollator(stub_processor)(rows)
    assert batch["image_of_caption"].tolist() == [0, 0, 1, 2, 2]
    assert batch["image_of_caption"].dtype == torch.int64
    assert batch["input_ids"].shape == (5, 1)
    assert batch["pixel_values"].shape == (3,)
    # Columns a b d e c; the first picture also owns "c", drawn for the third.
    assert batch["positives"].tolist() == [
        [True, True, False, False, True],
        [False, False, True, False, False],
        [False, False, False, True, True],
    ]


def real_processors():
    tokenizer = build_word_tokenizer([text for n in range(6) for text in sentences(n)])
    return [family.build(tokenizer, image_size=48) for family in (CMPAGLProcessor, GaLRProcessor)]


@pytest.mark.parametrize("processor", real_processors(), ids=lambda each: type(each).__name__)
def test_pictures_of_the_first_epochs_have_the_low_side_and_later_ones_the_models(rows, processor):
    view = EpochView(rows, draw=RowDrawer(seed=0, low_resolution=(32, 2)))
    collate = RetrievalCollator(processor)
    sides = [collate([view[epoch * 6], view[epoch * 6 + 5]]) for epoch in (2, 1, 0, 3)]
    assert [batch["pixel_values"].shape[1:] for batch in sides] == [
        (3, 48, 48), (3, 32, 32), (3, 32, 32), (3, 48, 48)
    ]  # fmt: skip
    # The same values as a processor built for that side gives.
    small = type(processor).build(processor.tokenizer, image_size=32)
    expected = RetrievalCollator(small)([view[3 * 6], view[3 * 6 + 5]])
    assert torch.equal(sides[1]["pixel_values"], expected["pixel_values"])


def test_rows_of_epochs_with_different_sides_are_no_batch(rows):
    view = EpochView(rows, draw=RowDrawer(seed=0, low_resolution=(32, 1)))
    with pytest.raises(ValueError, match=r"one batch ask for pictures of several sides: .*32"):
        RetrievalCollator(stub_processor)([view[5], view[6]])


def test_every_caption_is_true_of_its_own_picture(rows):
    view = EpochView(rows, draw=RowDrawer(seed=0, captions_per_image=2))
    batch = RetrievalCollator(stub_processor)([view[row] for row in range(6)])
    own = batch["positives"][batch["image_of_caption"], torch.arange(12)]
    assert own.all()


def test_positives_compare_normalised_sentences():
    assert find_positives([["Many boats ."], []], ["many  boats"]).tolist() == [[True], [False]]


def test_collated_epoch_through_a_loader_with_the_sampler(rows):
    view = EpochView(rows, draw=RowDrawer(seed=0, augmentation=Augmentation()))
    sampler = CaptionAwareSampler(view.caption_sets, batch_size=4, seed=0)
    loader = DataLoader(view, batch_sampler=sampler, collate_fn=RetrievalCollator(stub_processor))
    sizes = [len(batch["pixel_values"]) for batch in loader]
    assert sizes == [4, 2]


def test_skipping_seen_batches_goes_on_where_the_run_stopped(rows):
    """What the Trainer does on resume: set the epoch, then skip the batches already trained on."""
    accelerate = pytest.importorskip("accelerate", reason="accelerate comes with the train extra")
    view = EpochView(rows, draw=RowDrawer(seed=0, augmentation=Augmentation()))

    def loader():
        sampler = CaptionAwareSampler(view.caption_sets, batch_size=2, seed=0)
        plain = DataLoader(view, batch_sampler=sampler, collate_fn=list)
        return accelerate.Accelerator(cpu=True).prepare(plain)

    whole, resumed = loader(), loader()
    whole.set_epoch(3)
    resumed.set_epoch(3)
    expected = [signature(row) for batch in whole for row in batch]
    rest = accelerate.skip_first_batches(resumed, 1)
    assert [signature(row) for batch in rest for row in batch] == expected[2:]


def test_dropped_words_change_what_is_read_and_not_what_is_true(rows):
    view = EpochView(rows, draw=RowDrawer(seed=0, captions_per_image=2, word_drop=0.5))
    read = [view[row] for row in range(6)]
    assert any(row.wordings != row.captions for row in read)
    for row in read:
        assert set(row.captions) <= set(row.all_captions)
        for wording, caption in zip(row.wordings, row.captions, strict=True):
            left = iter(caption.split())
            assert all(word in left for word in wording.split())  # in order
            assert wording
    texts = []

    def processor(images, text, return_tensors):
        texts.extend(text)
        return stub_processor(images, text, return_tensors)

    batch = RetrievalCollator(processor)(read)
    assert texts == [wording for row in read for wording in row.wordings]
    captions = torch.arange(len(texts))
    assert batch["positives"][batch["image_of_caption"], captions].all()
    again = EpochView(rows, draw=RowDrawer(seed=0, captions_per_image=2, word_drop=0.5))
    assert [again[row].wordings for row in range(6)] == [row.wordings for row in read]


def test_a_sentence_keeps_a_share_of_its_words_and_never_none():
    rng = np.random.default_rng(0)
    words = " ".join(["word"] * 2000)
    assert 1550 < len(drop_words(words, 0.2, rng).split()) < 1650
    assert drop_words("a  b", 0.0, rng) == "a  b"
    assert {drop_words("boats", 0.9, rng) for _ in range(50)} == {"boats"}


def test_teachers_are_asked_about_rows_and_true_sentences(rows):
    asked = []

    def teachers(numbers, captions):
        asked.append((numbers, captions))
        return torch.zeros(2, len(numbers), len(captions))

    view = EpochView(rows, draw=RowDrawer(seed=0, word_drop=0.9))
    read = [view[row] for row in (4, 1)]
    batch = RetrievalCollator(stub_processor, teachers)(read)
    assert asked == [([4, 1], [row.captions[0] for row in read])]
    assert batch["teacher_logits"].shape == (2, 2, 2)
    assert "teacher_logits" not in RetrievalCollator(stub_processor)(read)


def test_a_proposer_looks_at_each_picture_as_it_is_trained_on(rows):
    class Proposer:
        name = "half"

        def __call__(self, picture):
            width, height = picture.size
            return Regions(boxes=torch.tensor([[0, 0, width / 2, height]]), scores=torch.ones(1))

    def processor(images, text, regions=None, **options):
        return stub_processor(images, text, **options) | {"asked": (images, regions)}

    view = EpochView(rows, draw=RowDrawer(seed=0, augmentation=Augmentation(crop_scale=(0.5, 0.6))))
    collate = RetrievalCollator(processor, regions=Proposer())
    pictures, regions = collate([view[row] for row in range(3)])["asked"]
    for picture, found in zip(pictures, regions, strict=True):
        assert found.boxes.tolist() == [[0, 0, picture.width / 2, picture.height]]
    assert RetrievalCollator(processor)([view[0]])["asked"][1] is None
