"""Regions of a detector, or of anybody, in embeddings, indexes and reports of a tiny GaLR."""

import json
import shutil

import pytest
import torch
from PIL import Image

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.embedding.prepare import region_source
from rsctir_hf.errors import IndexMismatchError, RegionsError, UnsupportedError
from rsctir_hf.evaluation import evaluate_retrieval
from rsctir_hf.files.pictures import SYMMETRIES, turned
from rsctir_hf.models.galr import GaLRConfig
from rsctir_hf.regions.detector import load_detector
from rsctir_hf.regions.proposer import Regions
from rsctir_hf.search.retriever import Retriever
from tests.miniature import draw_picture
from tests.tiny_detectors import always_this_box, save_detector
from tests.tiny_galr import tiny_galr

BANK = ["boats beside a pier", "green tennis courts", "many planes", "a river"]
NAN = float("nan")


class Given:
    """Proposes what it was given, whatever the picture, and remembers the pictures."""

    name = "given"

    def __init__(self, boxes, scores, labels=()):
        self.regions = Regions(boxes=boxes, scores=scores, labels=labels)
        self.seen = []

    def __call__(self, image):
        self.seen.append(image)
        return self.regions


@pytest.fixture(scope="module")
def galr():
    return tiny_galr(BANK)


@pytest.fixture(scope="module")
def galr_folder(galr, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "galr"
    for part in galr:
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    return save_detector(tmp_path / "detector")


@pytest.fixture
def detector(folder):
    return load_detector(folder, threshold=0.1)


@pytest.fixture
def pictures():
    return [draw_picture(number, side=48) for number in range(4)]


@pytest.fixture
def indexed(galr_folder, detector, pictures, tmp_path):
    """An index that was made with the detector."""
    made = Retriever.from_pretrained(galr_folder, regions=detector)
    made.index(pictures)
    made.save(tmp_path / "index")
    return tmp_path / "index"


def many(count):
    corners = torch.rand(count, 2, generator=torch.Generator().manual_seed(0)) * 30
    return torch.cat((corners, corners + 12), dim=1), torch.linspace(0, 1, count)


BAD_REGIONS = {
    "none": (torch.zeros(0, 4), torch.zeros(0)),
    "none, flat": ([], []),
    "one": ([[4.0, 4, 30, 30]], [0.7]),
    "outside": ([[-90.0, -90, -50, -50], [60, 60, 90, 90]], [0.9, 0.8]),
    "partly outside": ([[-90.0, -90, 20, 20], [30, 30, 900, 900]], [0.9, 0.8]),
    "NaN scores": ([[4.0, 4, 30, 30], [1, 1, 20, 20]], [NAN, NAN]),
    "one NaN score": ([[4.0, 4, 30, 30], [1, 1, 20, 20]], [NAN, 0.5]),
    "NaN boxes": ([[NAN, 4, 30, 30], [NAN] * 4], [0.9, 0.8]),
    "infinite": ([[4.0, 4, float("inf"), 30]], [float("inf")]),
    "empty boxes": ([[9.0, 9, 9, 9], [30, 30, 4, 4]], [0.9, 0.8]),
    "10,000": many(10_000),
}


@pytest.mark.parametrize("kind", BAD_REGIONS)
def test_no_regions_whatever_they_are_bring_a_nan_into_an_embedding(galr, pictures, kind):
    boxes, scores = BAD_REGIONS[kind]
    given = Given(boxes, scores)
    vectors = Encoder(*galr, regions=given).images(pictures).vectors
    assert vectors.isfinite().all()
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))
    graph, _ = Encoder(*galr, regions=given).region_graph(pictures[0])
    assert graph.adjacency.isfinite().all() and graph.salience.isfinite().all()
    left = {"one": 1, "partly outside": 2, "one NaN score": 1, "10,000": 5}.get(kind, 0)
    assert int(graph.mask.sum()) == left  # this GaLR has 5 nodes
    nothing = Encoder(*galr, regions="none").images(pictures).vectors
    # Other threads add up in another order.
    assert torch.allclose(vectors, nothing, rtol=0, atol=1e-6) == (left == 0)


@pytest.mark.parametrize("kind", BAD_REGIONS)
def test_the_processor_and_the_model_alone_stand_bad_regions_too(galr, pictures, kind):
    model, processor = galr
    boxes, scores = BAD_REGIONS[kind]
    given = Regions(boxes=torch.as_tensor(boxes), scores=torch.as_tensor(scores))
    inputs = processor(images=pictures, regions=[given] * 4, return_tensors="pt")
    with torch.no_grad():
        assert model.get_image_features(**inputs).pooler_output.isfinite().all()
        assert model.get_region_graph(**inputs).adjacency.isfinite().all()


def test_nodes_of_a_graph_carry_the_detectors_class_names(galr, pictures):
    class Names:
        name = "names"

        def __call__(self, picture):
            boxes = torch.tensor([[0, 0, 8, 8], [4, 4, 12, 12], [0, 6, 9, 12]]).float()
            labels = ("overpass", "aircraft", "overpass")
            return Regions(boxes=boxes, scores=torch.tensor([0.9, 0.8, 0.7]), labels=labels)

    graph = Retriever(Encoder(*galr, regions=Names())).region_graph(pictures[0])
    assert graph.names == ["overpass", "aircraft", "overpass"]


def test_a_graph_and_its_names_come_from_one_look_at_the_picture(galr, pictures):
    given = Given([[4.0, 4, 30, 30], [1, 1, 20, 20]], [0.9, 0.8], labels=(7, 3))
    graph = Retriever(Encoder(*galr, regions=given)).region_graph(pictures[0])
    assert graph.names == ["7", "3"] and len(given.seen) == 1


@pytest.mark.parametrize("symmetries", [1, 8])
def test_a_picture_that_the_detector_cannot_look_at_is_skipped_alone(
    galr, detector, pictures, symmetries
):
    narrow = Image.new("RGB", (4, 400))
    given = [pictures[0], narrow, pictures[1]]
    found = Encoder(*galr, regions=detector).images(given, symmetries=symmetries)
    assert found.kept == (0, 2)
    assert [skip.path for skip in found.skipped] == ["picture 1"]
    alone = Encoder(*galr, regions=detector).images(pictures[:2], symmetries=symmetries).vectors
    torch.testing.assert_close(found.vectors, alone)


def test_an_index_goes_on_after_a_picture_the_detector_cannot_look_at(
    galr, detector, pictures, tmp_path
):
    narrow = tmp_path / "narrow.png"
    Image.new("RGB", (4, 400)).save(narrow)
    retriever = Retriever(Encoder(*galr, regions=detector))
    report = retriever.index([pictures[0], narrow, pictures[1]])
    assert report.indexed == len(retriever) == 2
    assert report.skipped[0].path == str(narrow)
    assert report.skipped[0].reason.startswith(f"{narrow}: The detector {detector.name} cannot")
    for call in (
        retriever.search,
        retriever.region_graph,
        lambda picture: retriever.contributions(picture, "a river"),
    ):
        with pytest.raises(UnsupportedError, match="cannot look at a picture of 4 x 400 pixels"):
            call(narrow)


def test_ten_thousand_regions_are_the_five_strongest_of_them(galr, pictures):
    boxes, scores = many(10_000)
    strongest = Given(boxes[-5:], scores[-5:])
    torch.testing.assert_close(
        Encoder(*galr, regions=Given(boxes, scores)).images(pictures).vectors,
        Encoder(*galr, regions=strongest).images(pictures).vectors,
    )


def test_regions_that_do_not_belong_together_are_named(galr, pictures):
    with pytest.raises(RegionsError, match=r"given gave boxes \(1, 4\), scores \(2,\)"):
        Encoder(*galr, regions=Given([[4.0, 4, 30, 30]], [0.7, 0.6])).images(pictures)


def test_boxes_reach_the_model_in_its_own_pixels(galr, tmp_path):
    folder = save_detector(tmp_path / "d", change=always_this_box(0.5, 0.25, 0.5, 0.25))
    detector = load_detector(folder, threshold=0.0, max_regions=1)
    picture = Image.new("RGB", (32, 128), "red")
    inputs = Encoder(*galr, regions=detector).inputs([picture])
    # the model's input has 64 x 64 px: from 1/4 to 3/4 across, from 1/8 to 3/8 down
    assert inputs["region_boxes"][0, 0].tolist() == pytest.approx([16, 8, 48, 24], abs=1e-2)


def test_a_detector_changes_the_vectors_and_always_in_the_same_way(galr, detector, pictures):
    first, second, own, nothing = (
        Encoder(*galr, regions=regions).images(pictures).vectors
        for regions in (detector, detector, "model", "none")
    )
    assert torch.equal(first, second)
    assert not torch.allclose(first, own) and not torch.allclose(first, nothing)


def test_of_eight_symmetries_a_proposer_sees_each_view_and_its_boxes_belong_to_that(
    galr, detector, picture
):
    views = [turned(picture, symmetry) for symmetry in SYMMETRIES]
    given = Given([[0.0, 0, 12, 9]], [0.9])
    Encoder(*galr, regions=given).images([picture], symmetries=8)
    assert [view.tobytes() for view in given.seen] == [view.tobytes() for view in views]
    assert [view.size for view in given.seen] == [view.size for view in views]
    for regions in (given, detector):
        each = Encoder(*galr, regions=regions).images(views).vectors
        mean = each.mean(dim=0) / each.mean(dim=0).norm()
        found = Encoder(*galr, regions=regions).images([picture], symmetries=8).vectors[0]
        torch.testing.assert_close(found, mean, atol=1e-5, rtol=0)
        assert (each - each[0]).abs().max() > 1e-4


def test_a_report_names_the_detector_and_what_identifies_it(galr, detector, pictures):
    rows = [{"image": p, "captions": [text]} for p, text in zip(pictures, BANK, strict=True)]
    report = evaluate_retrieval(Encoder(*galr, regions=detector), rows)
    assert report.regions == detector.name and report.detector == detector.record
    written = json.loads(json.dumps(report.to_dict()))["detector"]
    assert written["source"] == detector.name and written["threshold"] == 0.1
    assert written["fingerprint"] == detector.record.fingerprint
    own = evaluate_retrieval(Encoder(*galr), rows)
    assert own.regions == "model" and own.detector is None


def test_an_index_names_the_detector_and_answers_alike_with_it(
    indexed, galr_folder, detector, pictures
):
    fields = json.loads((indexed / "index.json").read_text())
    assert fields["regions"] == detector.name
    assert fields["detector"]["fingerprint"] == detector.record.fingerprint
    assert fields["detector"]["threshold"] == 0.1
    loaded = Retriever.load(indexed, regions=detector)
    assert loaded.search(pictures[2])[0].item == 2
    assert loaded.search(pictures[2])[0].score == pytest.approx(1.0, abs=1e-5)
    assert loaded.with_empty_gallery().encoder.regions is detector


def test_an_index_of_a_detector_is_refused_with_other_regions(indexed, folder, galr_folder):
    torch.manual_seed(1)
    other = save_detector(folder.parent / "other", seed=1)
    for regions, message in (
        ("model", "regions model"),
        ("none", "regions none"),
        (load_detector(folder, threshold=0.2), "score 0.2 or more"),
        (load_detector(folder, threshold=0.1, max_regions=9), "at most 9"),
        (load_detector(other, threshold=0.1), "other"),
        (Given([], []), "regions given"),
    ):
        with pytest.raises(IndexMismatchError, match=r"score 0.1 or more.*") as caught:
            Retriever.load(indexed, regions=regions)
        assert message in str(caught.value).split("at hand")[1]
        again = f"--index {indexed} --rebuild"
        assert "rsctir index --model" in str(caught.value) and again in str(caught.value)


def test_an_index_of_a_detector_is_loaded_only_with_one_handed_in(indexed):
    with pytest.raises(IndexMismatchError, match=r"score 0.1 or more.*load_detector"):
        Retriever.load(indexed)


def test_an_index_of_own_regions_is_refused_with_a_detector(
    galr_folder, detector, pictures, tmp_path
):
    for regions in ("model", "none"):
        made = Retriever.from_pretrained(galr_folder, regions=regions)
        made.index(pictures)
        made.save(tmp_path / regions)
        assert Retriever.load(tmp_path / regions).encoder.regions == regions
        with pytest.raises(IndexMismatchError, match=rf"regions {regions},.*score 0.1 or more"):
            Retriever.load(tmp_path / regions, regions=detector)


def test_a_detector_that_moved_is_the_same_detector(indexed, folder, tmp_path, pictures):
    moved = shutil.move(folder, tmp_path / "moved")
    loaded = Retriever.load(indexed, regions=load_detector(moved, threshold=0.1))
    assert loaded.search(pictures[1])[0].item == 1


def test_a_proposer_of_ones_own_has_its_name_and_nothing_else_to_go_by(
    galr_folder, pictures, tmp_path, detector
):
    given = Given([[0.0, 0, 12, 9]], [0.9])
    named = Retriever.from_pretrained(galr_folder, regions=given)
    named.index(pictures)
    named.save(tmp_path / "named")
    assert len(Retriever.load(tmp_path / "named", regions=given)) == 4
    with pytest.raises(IndexMismatchError, match="regions given"):
        Retriever.load(tmp_path / "named", regions=detector)


def test_a_detector_of_which_an_index_says_only_the_name_is_not_taken_on_trust(indexed, detector):
    forget_detector(indexed)
    with pytest.raises(IndexMismatchError, match=r"score 0.1 or more"):
        Retriever.load(indexed, regions=detector)


def test_a_damaged_entry_is_named(indexed, detector):
    fields = json.loads((indexed / "index.json").read_text())
    for damage in ("x", 3, {"source": "x"}, []):
        (indexed / "index.json").write_text(json.dumps(fields | {"detector": damage}))
        with pytest.raises(IndexMismatchError, match="damaged"):
            Retriever.load(indexed, regions=detector)


def test_a_gallery_keeps_its_kind_of_regions(galr):
    with pytest.raises(AttributeError):
        Retriever(Encoder(*galr)).encoder.regions = "none"


def test_regions_that_do_not_exist_are_refused(galr, pictures):
    reserved = Given([], [])
    reserved.name = "model"
    nameless = Given([], [])
    nameless.name = ""
    for regions in ("detr", "", None, reserved, nameless, object()):
        for call in (
            lambda regions=regions: Retriever(Encoder(*galr, regions=regions)),
            lambda regions=regions: Encoder(*galr, regions=regions).images(pictures),
        ):
            with pytest.raises(RegionsError, match="expected 'model', 'none' or a proposer"):
                call()


def test_a_model_that_takes_no_regions_refuses_a_detector(
    tiny_clip, tiny_clip_processor, galr, detector, monkeypatch
):
    with pytest.raises(UnsupportedError, match="CLIPModel takes no regions"):
        Retriever(Encoder(tiny_clip, tiny_clip_processor, regions=detector))
    assert region_source(tiny_clip, "model").name == region_source(tiny_clip, "none").name == "none"
    precomputed = GaLRConfig(**galr[0].config.to_dict() | {"region_source": "precomputed"})
    monkeypatch.setattr(galr[0], "config", precomputed)
    with pytest.raises(UnsupportedError, match="precomputed nodes"):
        Retriever(Encoder(*galr, regions=detector))
    monkeypatch.undo()
    assert region_source(galr[0], detector).detector == detector.record
    assert region_source(galr[0], Given([], [])).detector is None


def forget_detector(folder):
    """Make an index what it was before detectors were recorded."""
    fields = json.loads((folder / "index.json").read_text())
    fields["detector"] = None
    (folder / "index.json").write_text(json.dumps(fields))
