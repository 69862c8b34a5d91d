"""Label heads: what they learn, and their file."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from rsctir_hf.data.label_sets import LabelledPictures
from rsctir_hf.embedding.provenance import Provenance
from rsctir_hf.errors import DataLayoutError, IndexMismatchError, QueryError
from rsctir_hf.labels.code_network import LabelCoder
from rsctir_hf.labels.label_fitting import fit_label_head
from rsctir_hf.labels.label_head import LabelHead, head_beside
from rsctir_hf.labels.label_scores import PAIRS, SINGLE

MADE_BY = Provenance("tiny", None, "abc", "model", None, "pixels")


def labelled(count=200, seed=0):
    """Pictures whose vectors show a label where one of their numbers is above zero."""
    draw = torch.Generator().manual_seed(seed)
    raw = torch.randn(count, 8, generator=draw)
    names = ("dock", "sand", "ship")
    files = tuple(f"{place}.png" for place in range(count))
    return LabelledPictures(files, names, raw[:, :3] > 0), F.normalize(raw, dim=1)


@pytest.fixture(scope="module")
def head():
    return fit_label_head(*labelled(), made_by=MADE_BY, validation=labelled(100, seed=1))


def test_a_head_learns_what_pictures_show(head):
    reached = head.learnt_from
    assert reached["pictures"] == 200 and reached["validation_pictures"] == 100
    assert reached[SINGLE] > 97 and reached[PAIRS] > 95
    pictures, vectors = labelled(100, seed=2)
    likely = head.likelihoods(vectors)
    assert likely.shape == (100, 3) and likely.dtype == torch.float64
    assert ((likely > 0.5) == pictures.shown).float().mean() > 0.9


def test_codes_of_pictures_are_near_those_of_their_labels(head):
    pictures, vectors = labelled(100, seed=2)
    sets = torch.stack(
        [
            head.code_of([name for name, here in zip(head.labels, row, strict=True) if here])
            for row in pictures.shown
        ]
    )
    own = (head.codes(vectors) - sets).norm(dim=1).mean()
    others = torch.cdist(head.codes(vectors), sets).mean()
    assert sets.shape == (100, 24) and own < 0.8 * others


def test_a_direction_orders_as_the_likelihood_of_its_label_does(head):
    _, vectors = labelled(100, seed=2)
    along = vectors @ head.directions(["sand", "ship"]).T
    assert torch.equal(along.argsort(dim=0), head.likelihoods(vectors)[:, 1:].argsort(dim=0))
    assert head.directions(["ship"]).norm().item() == pytest.approx(1)


def test_a_tenth_is_held_out_where_nobody_names_others_and_a_seed_decides():
    one, same, other = (
        fit_label_head(*labelled(), made_by=MADE_BY, seed=seed) for seed in (3, 3, 4)
    )
    assert one.learnt_from["pictures"] == 180 and one.learnt_from["validation_pictures"] == 20
    _, vectors = labelled(5, seed=2)
    assert torch.equal(one.likelihoods(vectors), same.likelihoods(vectors))
    assert not torch.equal(one.likelihoods(vectors), other.likelihoods(vectors))


def test_what_nothing_can_be_learnt_from_is_refused():
    pictures, vectors = labelled()
    with pytest.raises(DataLayoutError, match="There are 9 labelled pictures; expected 10"):
        fit_label_head(pictures.at(range(9)), vectors[:9], made_by=MADE_BY)
    same = LabelledPictures(pictures.files, ("a",), torch.ones(200, 1, dtype=torch.bool))
    with pytest.raises(DataLayoutError, match="All pictures have the same labels, a"):
        fit_label_head(same, vectors, made_by=MADE_BY)
    twice = replace(pictures, labels=("bare soil", "bare-soil", "ship"))
    with pytest.raises(DataLayoutError, match="'bare soil' and 'bare-soil' are spelt alike"):
        fit_label_head(twice, vectors, made_by=MADE_BY)


def test_a_file_gives_back_the_head_and_is_small(head, tmp_path):
    file = tmp_path / "deep" / "head.safetensors"
    head.save(file)
    again = LabelHead.load(file)
    assert (again.labels, again.made_by, again.learnt_from) == (
        head.labels, head.made_by, dict(head.learnt_from)
    )  # fmt: skip
    _, vectors = labelled(5, seed=2)
    assert torch.allclose(again.likelihoods(vectors), head.likelihoods(vectors), atol=0.01)
    assert torch.allclose(again.code_of(["ship"]), head.code_of(["ship"]), atol=0.02)
    again.save(file)  # no further loss
    assert torch.equal(LabelHead.load(file).likelihoods(vectors), again.likelihoods(vectors))
    large = LabelHead(tuple(map(str, range(17))), LabelCoder(512, 17), MADE_BY)
    large.save(file)
    assert file.stat().st_size < 40_000


def test_a_head_lies_beside_a_model_or_not(head, tmp_path):
    assert head_beside(tmp_path) is None
    head.save(tmp_path / "labels.safetensors")
    assert head_beside(tmp_path).labels == head.labels


def damaged(file, change):
    """Write a head's file anew with other weights or another header."""
    weights = load_file(file)
    said = {"version": 1, "labels": ["dock", "sand", "ship"], "learnt_from": {}}
    said["made_by"] = dict(vars(MADE_BY))
    change(weights, said)
    save_file(weights, file, {"label_head": json.dumps(said)})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda weights, said: said.pop("labels"), "damaged .'labels'"),
        (lambda weights, said: said["labels"].pop(), "size mismatch"),
        (lambda weights, said: said.update(version=2), "version 2; this program reads version 1"),
        (lambda weights, said: said["made_by"].pop("fingerprint"), "damaged"),
        (lambda weights, said: weights.pop("classes.bias"), "damaged"),
        (lambda weights, said: weights["classes.bias"].fill_(torch.nan), "no numbers"),
        (lambda weights, said: weights.update({"picture.weight": torch.zeros(3)}), "damaged"),
    ],
)
def test_a_damaged_file_is_refused_in_words(head, tmp_path, change, why):
    file = tmp_path / "head.safetensors"
    head.save(file)
    damaged(file, change)
    with pytest.raises(QueryError, match=why):
        LabelHead.load(file)


def test_what_is_no_head_is_refused(tmp_path):
    with pytest.raises(QueryError, match=r"There is no label head .*missing"):
        LabelHead.load(tmp_path / "missing")
    for name, content in (("text", b"not this"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(QueryError, match="is no label head, or damaged"):
            LabelHead.load(tmp_path / name)
    save_file({"vectors": torch.zeros(2)}, tmp_path / "other")
    with pytest.raises(QueryError, match="it names no labels"):
        LabelHead.load(tmp_path / "other")
    with pytest.raises(QueryError, match="is no label head"):
        LabelHead.load(tmp_path)


def test_vectors_of_another_model_and_labels_it_lacks_are_refused(head):
    head.check_model(replace(MADE_BY, model_id="moved"))
    with pytest.raises(IndexMismatchError, match=r"Fit one for it: 'rsctir fit-labels --model two"):
        head.check_model(replace(MADE_BY, model_id="two", fingerprint="def"))
    with pytest.raises(QueryError, match="does not know pier; it knows dock, sand, ship"):
        head.check_known(["ship", "pier"])
