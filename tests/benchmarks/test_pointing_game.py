"""The pointing game: where a way points, what counts as a hit, chosen on train and scored once."""

import json
import subprocess
from math import sqrt
from types import SimpleNamespace

import pytest
import torch

from benchmarks import patch_similarity, pointing, pointing_game, rsod_scoring
from benchmarks.pointing import BOX, COSINE, FINER, NODE, Asking, Game, Seen, Way
from rsctir_hf.detection.crops import BoxedPicture
from rsctir_hf.errors import DataLayoutError, RsctirError
from rsctir_hf.regions.contribution import Contributions
from tests.models.test_modeling_galr import model_of, pictures_of
from tests.models.tiny_cmpagl import seeded_model, tiny_stem_config

WORD = Asking("word", COSINE)
SMALL, LARGE, OTHER = [0.0, 0, 4, 4], [0.0, 0, 16, 16], [8.0, 8, 12, 12]
LOG = "# Results\n\n| a |\n| - |\n"


def contributions(values):
    """Of three regions to one query, what it loses without each."""
    masked = 0.5 - torch.tensor(values)[:, None]
    boxes = torch.tensor([SMALL, LARGE, OTHER])
    kept = torch.ones(3, dtype=torch.bool)
    return Contributions(boxes, torch.ones(3), torch.arange(3), kept, torch.tensor([0.5]), masked)


def seen(values, objects, cells=(0.0, 0.0, 0.0, 1.0)):
    return Seen(
        torch.tensor(objects),
        {NODE: contributions(values)},
        {2: torch.tensor(cells)[:, None]},
        (16, 16),
    )


def game(*pictures):
    return Game((WORD,), {"aircraft": pictures[:1], "overpass": pictures[1:]})


def test_the_region_with_the_largest_contribution_is_pointed_at():
    found = contributions([0.1, 0.3, 0.2])
    assert pointing.strongest(found, 0, 0.0) == (8, 8)
    # Over the area: 0.1 / 16, 0.3 / 256, 0.2 / 16; over its root: 0.1 / 4, 0.3 / 16, 0.2 / 4.
    assert pointing.strongest(found, 0, 1.0) == (10, 10)
    assert pointing.strongest(found, 0, 0.5) == (10, 10)
    assert pointing.strongest(contributions([0.2, 0.2, 0.2]), 0, 0.0) == (2, 2)  # the surest


def test_a_hit_is_a_point_inside_a_box_of_the_class():
    objects = torch.tensor([[0.0, 0, 4, 4], [8, 8, 12, 16]])
    points = torch.tensor([[4.0, 4], [10, 12], [4, 10], [12.5, 12]])
    assert pointing.hits(points, objects).tolist() == [True, True, False, False]


def test_macro_is_the_mean_over_classes_however_many_pictures_each_has():
    hit, miss = seen([0.0, 0.0, 1.0], [[9.0, 9, 11, 11]]), seen([1.0, 0.0, 0.0], [[9.0, 9, 11, 11]])
    played = game(hit, hit, miss, miss).play(Way(WORD, NODE, "nothing"))
    assert [each.tolist() for each in played.values()] == [[1.0], [1.0, 0.0, 0.0]]
    found = pointing.summary(played)
    assert found == {"macro": 66.66, "classes": {"aircraft": 100.0, "overpass": 33.33}}


def test_what_it_competes_with_is_exact():
    # Objects cover a quarter of the picture; the centres of regions are (2, 2), (8, 8), (10, 10).
    played = game(*[seen([1.0, 0.0, 0.0], [[0.0, 0, 8, 8]])] * 2)
    assert float(played.expect_point()["aircraft"]) == pytest.approx(1 / 4)
    assert float(played.expect_proposal(NODE)["aircraft"]) == pytest.approx(2 / 3)
    assert float(played.play_centre()["overpass"]) == 1  # (8, 8), on the edge
    assert float(played.play_patches(WORD, 2)["aircraft"]) == 0  # (12, 12)
    near = seen([1.0, 0.0, 0.0], [[0.0, 0, 8, 8]], cells=(0.9, 0.2, 0.1, 0.3))
    assert float(game(near, near).play_patches(WORD, 2)["aircraft"]) == 1  # (4, 4)


def test_overlapping_objects_are_not_counted_twice():
    twice = seen([1.0, 0.0, 0.0], [[0.0, 0, 8, 8], [0, 0, 8, 8]])
    assert float(game(twice, twice).expect_point()["aircraft"]) == pytest.approx(1 / 4)


def test_wilson_interval_is_the_textbook_one():
    # 5 of 10: centre (0.5 + z^2 / 20) / (1 + z^2 / 10), half z sqrt(0.025 + z^2 / 400) / (...).
    z = 1.959964
    half = z * sqrt(0.025 + z * z / 400) / (1 + z * z / 10)
    assert rsod_scoring.wilson_interval(5, 10) == pytest.approx((50 - 100 * half, 50 + 100 * half))
    assert rsod_scoring.wilson_interval(0, 10)[0] == 0
    with pytest.raises(ValueError, match="11 hits of 10"):
        rsod_scoring.wilson_interval(11, 10)


def test_macro_interval_holds_the_macro_and_shrinks_with_pictures():
    few = [torch.tensor([0.0, 1] * 5), torch.tensor([1.0] * 10)]
    many = [each.repeat(20) for each in few]
    low, high = rsod_scoring.macro_interval(few)
    assert low < 75 < high
    near_low, near_high = rsod_scoring.macro_interval(many)
    assert low < near_low < 75 < near_high < high
    assert rsod_scoring.macro_interval(few) == (low, high)


def test_some_pictures_of_each_class_are_drawn():
    pictures = [
        BoxedPicture(f"{row}", None, torch.zeros(1, 4).numpy(), torch.tensor([row % 3]).numpy())
        for row in range(12)
    ]
    pictures.append(BoxedPicture("empty", None, torch.zeros(0, 4).numpy(), torch.zeros(0).numpy()))
    drawn = rsod_scoring.some_of_each_class(pictures, 2)
    assert sorted(int(each.labels[0]) for each in drawn) == [0, 0, 1, 1, 2, 2]
    assert [each.name for each in rsod_scoring.some_of_each_class(pictures, 0)] == [
        str(row) for row in range(12)
    ]


@pytest.mark.parametrize("side", [2, 4])
def test_cells_are_unit_vectors_and_equal_ones_look_like_the_whole(side):
    cmpagl = seeded_model(tiny_stem_config(stem_skip_levels=True)).eval()
    galr = model_of(backbone_pool=True, backbone_pool_levels=True).eval()
    for model in (cmpagl, galr):
        cells = patch_similarity.cell_features(model, pictures_of(1), [side])[side]
        assert cells.shape == (side * side, model.config.projection_dim)
        assert torch.allclose(cells.norm(dim=-1), torch.ones(side * side), atol=1e-5)


@pytest.mark.parametrize("family", ["cmpagl", "galr"])
def test_a_single_cell_is_the_whole_picture(family):
    # With one cell the means over cells are those of the model itself.
    if family == "cmpagl":
        model = seeded_model(tiny_stem_config(stem_skip_levels=True)).eval()
    else:
        model = model_of(backbone_pool=True, backbone_pool_levels=True).eval()
    pixels = pictures_of(1)
    with torch.no_grad():
        whole = model.get_image_features(pixels).pooler_output
    assert torch.allclose(patch_similarity.cell_features(model, pixels, [1])[1], whole, atol=1e-4)


def test_cells_are_counted_row_by_row():
    assert patch_similarity.cell_centre(5, 4, (16, 32)) == (6, 12)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with a log, and a model that plays without being one."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "README.md").write_text(LOG)
    git(tmp_path, "init")
    loaded = SimpleNamespace(model=None, id="m")
    good = seen([0.0, 0.0, 1.0], [[9.0, 9, 11, 11]])
    monkeypatch.setattr(pointing_game.Encoder, "from_pretrained", lambda folder: loaded)
    monkeypatch.setattr(pointing_game, "weights_fingerprint", lambda model: "w1")
    monkeypatch.setattr(pointing_game, "read_split", lambda data, split: [])
    monkeypatch.setattr(pointing_game, "read_classes", lambda data: [])
    monkeypatch.setattr(pointing_game, "maskings_of", lambda loaded: [NODE, FINER])
    monkeypatch.setattr(pointing_game, "GRID_SIDES", (2,))

    def look(loaded, pictures, classes, asked):
        several = Seen(
            good.objects,
            dict.fromkeys((NODE, FINER), widened(good.found[NODE], len(asked))),
            {2: good.cells[2].expand(-1, len(asked))},
            good.size,
        )
        return pointing_game.Game(tuple(asked), {"aircraft": [several], "overpass": [several]})

    monkeypatch.setattr(pointing_game, "look", look)
    return pointing_game.scoring_of("m", pointing_game.MEASURED, root=tmp_path)


def widened(found, count):
    parts = {"whole": found.whole.expand(count), "masked": found.masked.expand(-1, count)}
    return Contributions(**{**found.__dict__, **parts})


def git(root, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def test_test_is_scored_once_after_the_choice_is_committed(checkout, tmp_path):
    with pytest.raises(DataLayoutError, match="is missing"):
        pointing_game.score(checkout, tmp_path)
    found = pointing_game.choose(checkout, tmp_path)
    assert found["chosen"]["divisor"] == "nothing"  # the first of equal ones
    assert len(found["validation"]) == 2 * 10 * 3 + 10
    with pytest.raises(RsctirError, match="not in the last commit"):
        pointing_game.score(checkout, tmp_path)
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "chosen")
    scored = pointing_game.score(checkout, tmp_path)
    assert {row["name"]: row["macro"] for row in scored["rows"]} == {
        "as in the app": 100,
        "best for the word alone": 100,
        "chosen on train": 100,
        "chosen, finer proposals too": 100,
        "a random proposal": 33.33,
        "a random finer proposal": 33.33,
        "a random point": 1.56,  # 2 x 2 of 16 x 16 pixels
        "the image's centre": 0,
        "patch similarity": 0,
    }
    assert json.loads(checkout.test_file.read_text())["split"] == "test"
    log = (tmp_path / "results" / "README.md").read_text().splitlines()
    assert "`m`" in log[-1] and "RSOD test, pointing game" in log[-1]
    for again in (pointing_game.score, pointing_game.choose):
        with pytest.raises(RsctirError, match="scored on RSOD test, pointing game before"):
            again(checkout, tmp_path)
    assert "| m | test, 0 | chosen on train | 100.0 (100.0 to 100.0) |" in pointing_game.table(
        [checkout]
    )


def test_a_game_is_read_by_the_names_of_its_ways():
    assert Way(WORD, BOX, "area") in {Way(Asking("word", COSINE), BOX, "area")}
    assert len(list(pointing.askings())) == 10
