"""What a card says of own data: what its owner has said, what was not said, and nothing else."""

import json
import re

import pytest
from huggingface_hub import ModelCard

from rsctir_hf.data.benchmarks import BENCHMARKS
from rsctir_hf.data.own_terms import OwnersWords
from rsctir_hf.embedding.provenance import Provenance
from rsctir_hf.hub.card import CardError, write_card
from rsctir_hf.hub.card_data import UCM_LABELS
from rsctir_hf.labels.code_network import LabelCoder
from rsctir_hf.labels.label_head import LabelHead
from tests.hub.test_card import report

BEFORE = "UCM-Captions train, 1,680 pictures; RSICD train, 7,957 pictures"
SAID = {"licence": "CC BY 4.0", "source": "Port of Kiel, drone, 2024", "hub_id": None}
HELD = "41 of 276 pictures held out, the same ones whatever the seed of the run"
#: What of a benchmark may stand in no card of own data, but for what the base saw.
FOREIGN = [
    *(word for each in BENCHMARKS.values() for word in (each.title, each.source, each.terms)),
    *("USGS", "UC Merced", "US cities", "Google Earth", "arampacha", "research-only"),
    *("for research only", "benchmark", "terms not verified", " AID"),
]


def own_results(name="Harbours", *, seen=BEFORE, **known):
    """Results of a training on own data, with one report."""
    own = {"name": name, "from_class_names": False, "held_out": HELD, "test": False}
    return {
        "training_sets": {name: 235},
        "seen_before": seen,
        "own_data": {name: own | dict.fromkeys(SAID) | known},
        "validation": [report("validation") | {"data": name, "images": 41}],
    }


def flat(text):
    """A card without its line ends."""
    return " ".join(text.split())


def written(folder, results, *, family="cmpagl", further=()):
    """Card and licence of a model with these results."""
    file = "adapter_config.json" if family == "adapter" else "config.json"
    (folder / file).write_text(json.dumps({"model_type": family}))
    (folder / "results.json").write_text(json.dumps(results))
    text = write_card(folder, model_id="org/harbours", results=further).read_text()
    return text, (folder / "LICENSE").read_text()


@pytest.mark.parametrize("family", ["cmpagl", "galr", "adapter"])
@pytest.mark.parametrize("known", [{}, SAID, {"from_class_names": True}, {"held_out": None}])
@pytest.mark.parametrize("seen", [BEFORE, ""])
def test_no_card_of_own_data_speaks_of_a_benchmark_but_as_what_the_base_saw(
    family, known, seen, tmp_path
):
    for text in written(tmp_path, own_results(seen=seen, **known), family=family):
        lines = text.splitlines()
        before = [line for line in lines if line.startswith("- before that")]
        assert len(before) == bool(seen)
        assert all(f"{seen}; the terms of these sets, research-only" in line for line in before)
        rest = " ".join(line for line in lines if line not in before)
        assert not [word for word in FOREIGN if word.casefold() in rest.casefold()]
        assert not [name for name in BENCHMARKS if re.search(rf"\b{name}\b", rest, re.I)]
        assert "- Harbours, 235 training pictures of own data." in text
        assert "$" not in text


def test_a_card_says_what_the_owner_has_said_and_asks_for_the_rest(tmp_path):
    text, licence = written(tmp_path, own_results(**SAID))
    for words in (text, licence):
        assert "Source: Port of Kiel, drone, 2024. Licence: CC BY 4.0." in words
        assert "not stated, please" not in words
    text, licence = written(tmp_path, own_results(source="Two\n lines"))
    for words in (text, licence):
        assert "Source: Two lines. Licence: not stated, please add `--data_licence`." in words
    text, _ = written(tmp_path, own_results())
    assert "Source: not stated, please add `--data_source`." in text


def test_a_card_says_how_validation_came_about_and_that_nothing_was_tested(tmp_path):
    text, _ = written(tmp_path, own_results())
    assert f"own data, whose figures compare with no paper. Validation: {HELD}." in flat(text)
    assert "one of them" not in flat(text) and "never saw its pictures" not in flat(text)
    assert "No figure is of a test split" in text
    assert "| Harbours | validation | none | 1 |" in text
    tested = tmp_path / "test.json"
    tested.write_text(json.dumps(report() | {"data": "/data/Harbours", "images": 5}))
    text, _ = written(tmp_path, own_results(held_out=None), further=[tested])
    assert "No figure is of a test split" not in text and "Validation:" not in text
    assert "| Harbours | test | none | 1 |" in text
    assert "Recall over 5 pictures moves by 20 points with each of them." in flat(text)


def test_a_card_says_that_captions_were_made_of_class_names(tmp_path):
    text, _ = written(tmp_path, own_results(from_class_names=True))
    assert "captions were made of class names" in text
    assert "captions were made of class names" not in written(tmp_path, own_results())[0]


@pytest.mark.parametrize(
    ("seen", "licence", "expected"),
    [
        ("", "CC BY 4.0", ("cc-by-4.0", None, None)),
        ("", "cc-by-nc-sa-4.0", ("cc-by-nc-sa-4.0", None, None)),
        ("", "Ask the port!", ("other", "ask-the-port", "LICENSE")),
        ("", None, (None, None, None)),
        (BEFORE, None, ("other", "code-apache-2.0-weights-as-their-data", "LICENSE")),
        (BEFORE, "mit", ("other", "code-apache-2.0-weights-as-their-data", "LICENSE")),
    ],
)
def test_the_front_matter_has_the_licence_that_was_stated_unless_a_base_has_its_own(
    seen, licence, expected, tmp_path
):
    text, _ = written(tmp_path, own_results(seen=seen, licence=licence))
    data = ModelCard(text).data.to_dict()
    fields = ("license", "license_name", "license_link")
    assert tuple(data.get(field) for field in fields) == expected


def test_the_model_index_calls_own_data_by_its_name_and_by_its_place_on_the_hub(tmp_path):
    data = ModelCard(written(tmp_path, own_results())[0]).data
    assert {(cell.dataset_type, cell.dataset_name) for cell in data.eval_results} == {
        ("Harbours", "Harbours")
    }
    assert data.datasets is None
    data = ModelCard(written(tmp_path, own_results(hub_id="port/harbours"))[0]).data
    assert {(cell.dataset_type, cell.dataset_name) for cell in data.eval_results} == {
        ("port/harbours", "Harbours")
    }
    assert data.datasets == ["port/harbours"]


def test_a_benchmark_trained_on_beside_own_data_keeps_its_terms(tmp_path):
    results = own_results(seen="", licence="mit")
    results["training_sets"] |= {"rsicd": 7957, "drawn": 10}
    text, licence = written(tmp_path, results)
    assert "- RSICD (Lu et al., TGRS 2017), train, 7,957 of the official" in text
    assert "offered for research only" in text and "offered for research only" in licence
    assert "Where none are stated, ask who holds the data." in text
    assert ModelCard(text).data.license == "other"
    del results["training_sets"]["rsicd"]
    assert ModelCard(written(tmp_path, results)[0]).data.license == "mit"


def test_what_the_base_knew_stands_apart_under_before_that(tmp_path):
    figures = {"before": {"mR": 51.54}, "after": {"mR": 51.2}, "images": 210, "split": "test"}
    rows = [figures | {"data": "Harbours", "kept": False}, figures | {"data": "ucm", "kept": True}]
    text, _ = written(tmp_path, own_results() | {"before_after": rows})
    own, _, knew = text.partition("Before that, the base knew these:")
    assert "| Harbours | test | 210 | 51.5 | 51.2 | -0.3 |" in own and "| UCM" not in own
    assert "| UCM-Captions | test | 210 | 51.5 | 51.2 | -0.3 |" in knew


def test_a_finished_card_is_completed_and_the_record_keeps_what_was_said(tmp_path):
    rows = [{"before": {"mR": 1.0}, "after": {"mR": 2.0}, "images": 41, "split": "validation"}]
    rows = [rows[0] | {"data": "Harbours", "kept": False}]
    written(tmp_path, own_results(seen="") | {"before_after": rows})
    said = OwnersWords("Ports of the Baltic", "CC BY 4.0", "Port of Kiel, drone, 2024")
    text = write_card(tmp_path, said=said).read_text()
    assert "- Ports of the Baltic, 235 training pictures of own data. Source: Port of" in text
    assert "| Ports of the Baltic | validation |" in text and "not stated" not in text
    assert "Harbours" not in text + (tmp_path / "LICENSE").read_text()
    assert ModelCard(text).data.license == "cc-by-4.0"
    assert write_card(tmp_path).read_text() == text
    other = write_card(tmp_path, said=OwnersWords(licence="mit")).read_text()
    assert "Source: Port of Kiel, drone, 2024. Licence: mit." in other


def test_of_several_sets_the_one_that_is_meant_is_named(tmp_path):
    results = own_results(seen="")
    results["training_sets"]["Roads"] = 5
    results["own_data"]["Roads"] = results["own_data"]["Harbours"] | {"name": "Roads"}
    written(tmp_path, results)
    with pytest.raises(CardError, match=r"several sets of own data, Harbours, Roads\. Say which"):
        write_card(tmp_path, said=OwnersWords(licence="mit"))
    text = write_card(tmp_path, said=OwnersWords("Roads", licence="mit")).read_text()
    harbours, roads = (line for line in text.splitlines() if "pictures of own data" in line)
    assert "Licence: not stated" in harbours and "Licence: mit." in roads


def test_of_benchmarks_there_is_nothing_to_say(tmp_path):
    before = written(tmp_path, {"validation": [report("validation")]})
    with pytest.raises(CardError, match="no own data"):
        write_card(tmp_path, said=OwnersWords(licence="mit"))
    assert (tmp_path / "README.md").read_text() == before[0]


@pytest.mark.parametrize(
    ("base", "words", "on_the_hub"),
    [
        ({"model": "/models/base", "revision": None}, "It starts from `base`,", None),
        ({"model": "org/base", "revision": "abc"}, "It starts from `org/base`,", "org/base"),
    ],
)
@pytest.mark.parametrize("family", ["cmpagl", "galr"])
def test_a_card_of_own_data_speaks_of_its_own_start_and_not_of_models_that_ship(
    family, base, words, on_the_hub, tmp_path
):
    text, _ = written(tmp_path, own_results() | {"base": base}, family=family)
    assert words in text and "/models" not in text
    assert ModelCard(text).data.base_model == on_the_hub
    assert not [word for word in ("shipped", "EfficientNet", "built-in gallery") if word in text]


@pytest.mark.parametrize("family", ["cmpagl", "galr"])
def test_a_card_of_benchmarks_speaks_of_the_models_that_ship(family, tmp_path):
    text, _ = written(tmp_path, {"validation": [report("validation")]}, family=family)
    assert "commands behind the shipped models in their order" in text
    assert "EfficientNet-Lite2 (ImageNet)" in text
    assert "our own code; the model never\n  saw its pictures in training." in text


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (UCM_LABELS, "17 labels (airplane, bare-soil,"),
        (("quay", "crane"), "2 labels (crane, quay), learnt from 40 pictures with labels of own"),
    ],
)
def test_a_label_head_beside_the_weights_is_named_with_what_it_learnt_from(
    labels, expected, tmp_path
):
    made_by = Provenance("m", None, "f", "none", None, "p")
    head = LabelHead(labels, LabelCoder(8, len(labels)), made_by, {"pictures": 40})
    head.save(tmp_path / "labels.safetensors")
    for text in written(tmp_path, own_results()):
        assert expected in text and text.count("`labels.safetensors`") == 1
        assert ("their terms are not verified" in text) == (labels is UCM_LABELS)
