"""What a card says of the data: the sets a model was trained on, their terms, how to read figures.

Of benchmarks all of this is known. Of own data it is what its owner has said; what was not said is
asked for. A results file tells them apart: own data stands in its ``own_data``.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from textwrap import fill
from typing import Any

from rsctir_hf.data.benchmarks import BENCHMARKS, DRAWN
from rsctir_hf.data.own_terms import OwnersWords
from rsctir_hf.hub.card_tables import RSOD, data_name, evaluation_reports
from rsctir_hf.loading.hub_files import LABELS_FILE

Results = Mapping[str, Any]

WEIGHTS_LICENCE = Template("""\
$model_name

Weights (*.safetensors): $offer. They were
trained on the pictures and captions of

$training_data

$advice

Code and configuration in this folder (*.py, *.json, recipe.yaml): Apache License, Version 2.0,
https://www.apache.org/licenses/LICENSE-2.0
""")
BENCHMARK_OFFER = "offered for research only, without warranty of any kind"
BENCHMARK_ADVICE = """\
The terms of benchmark data are research-only or unverified. Check them, and your own case, before
any other use."""
OWN_OFFER = "to be used as the terms of their data allow, without warranty of any kind"
OWN_ADVICE = """\
Nothing is granted here beyond those terms. Where none are stated, ask who holds the data."""
BENCHMARK_TERMS = """\
The terms of benchmark pictures and captions are research-only or not verified; the **weights** are
therefore offered for research only, under `license: other`. Check your own case before other use.\
"""
OWN_TERMS = """\
The **weights** may be used as the terms of all data above allow, and nothing is granted beyond
those. Where none are stated, ask who holds the data."""
#: Of benchmarks that only the base saw.
PRIOR_TERMS = ", research-only or not verified,"
CHOICES = """\
Choices were made on the validation split, averaged over the data sets where there are several."""
PARTS = """\
Where a row says that only part of a split was to be had (of RSICD the pictures of AID, at 150 px),
its figures do not compare one to one with papers."""
GALLERY = """ The demo's built-in gallery is drawn by our own code; the model never
  saw its pictures in training."""
SHIPPED = """; the README of the repository lists the
commands behind the shipped models in their order, and what they take."""
#: Of the models that ship.
STARTS = {
    "cmpagl": "The towers start from EfficientNet-Lite2 (ImageNet) and MiniLM weights shipped in "
    "Python packages.",
    "galr": "It starts from weights shipped in Python packages: EfficientNet-Lite2 (ImageNet), and "
    "MiniLM or\n  GloVe for text, as the recipe beside this card says.",
}
TRAIN = "train"
UNCHOSEN = """\
The pictures that the model learnt from have no captions, so nothing was chosen by a score."""
UCM_LABELS = (
    *("airplane", "bare-soil", "buildings", "cars", "chaparral", "court", "dock", "field", "grass"),
    *("mobile-home", "pavement", "sand", "sea", "ship", "tanks", "trees", "water"),
)
UCM_LABEL_TERMS = (
    "the multi-labels of UC Merced Land Use (Chaudhuri et al.), as the released code of CMIR-NET "
    "has them, without a licence: their terms are not verified"
)
OWN_LABEL_TERMS = "labels of own data, whose terms are for their owner to say"
WIDTH = 100  # characters of a line of a card
#: Below this a card says what one picture is worth.
FEW_PICTURES = 20
RSOD_SOURCE = "a subset of RSOD (Long et al., TGRS 2017), boxes of four classes"
RSOD_TERMS = "Google Earth screenshots; terms not verified"


def training_data(results: Results) -> str:
    """Return a Markdown list of the sets a model was trained on, with their sizes and terms."""
    own = results.get("own_data") or {}
    lines = [
        _own_set(own[name], count) if name in own else _training_set(name, count)
        for name, count in _sets(results).items()
    ]
    if seen := results.get("seen_before"):
        kind = "" if _of_benchmarks(results) or not _names_benchmark(seen) else PRIOR_TERMS
        lines.append(
            f"before that, as the model this one was tuned from: {seen}; "
            f"the terms of these sets{kind} hold here too"
        )
    if share := (results.get("base") or {}).get("share"):
        lines.append(f"{share:.2f} of the weights are those of that model, the rest as tuned")
    if head := results.get("label_head"):
        lines.append(_label_head(head))
    return "\n".join(f"- {line}" for line in lines)


def _label_head(head: Mapping[str, Any]) -> str:
    """Say what the label head beside a model has learnt from, which its weights have not."""
    names, count = sorted(head["labels"]), head.get("pictures")
    pictures = f"{count:,} pictures" if count else "pictures"
    terms = UCM_LABEL_TERMS if names == sorted(UCM_LABELS) else OWN_LABEL_TERMS
    return (
        f"`{LABELS_FILE}` beside the weights tells {len(names)} labels ({', '.join(names)}), "
        f"learnt from {pictures} with {terms}"
    )


def how_to_read(results: Results) -> str:
    """Say on what choices were made, and what the figures compare with."""
    every = (results.get("own_data") or {}).values()
    if every and not any(known.get("captioned", True) for known in every):
        return UNCHOSEN
    text = f"{CHOICES}\n{PARTS}" if _of_benchmarks(results) else CHOICES
    said = [words for known in every for words in _own(known)]
    if not said:
        return text
    reports = list(evaluation_reports(results))
    own = [report for report in reports if report.get("data") not in BENCHMARKS]
    fewest = min((report.get("images") or FEW_PICTURES for report in own), default=FEW_PICTURES)
    if fewest < FEW_PICTURES:
        said.append(
            f"Recall over {fewest} pictures moves by {100 / fewest:.0f} points with each of them."
        )
    if own and not any(report.get("split") == "test" for report in own):
        said.append(
            "No figure is of a test split of own data: all are of pictures on which choices were "
            "made, and lie a little too high."
        )
    return f"{text}\n\n{fill(' '.join(said), WIDTH)}"


def _own(known: Mapping[str, Any]) -> Iterator[str]:
    """Say what the figures on a set of own data are of."""
    yield f"{known['name']} is own data, whose figures compare with no paper."
    if known.get("held_out"):
        yield f"Validation: {known['held_out']}."


def terms_of_weights(results: Results) -> str:
    """Say what the weights may be used for."""
    terms = {BENCHMARK_TERMS: _of_benchmarks(results), OWN_TERMS: bool(results.get("own_data"))}
    return "\n\n".join(text for text, holds in terms.items() if holds)


def gallery_seen(results: Results) -> str:
    """Say whether the model saw the demo's gallery; nobody knows what own data holds."""
    return "" if results.get("own_data") else GALLERY


def how_it_was_made(results: Results) -> str:
    """Say where the commands of the training stand; the models that ship took several."""
    rest = "." if results.get("own_data") else SHIPPED
    return f"What ran is `recipe.yaml` beside this card{rest}"


def start_of_weights(results: Results, family: str) -> str:
    """Say which weights training began with."""
    if base := _tuned(results):
        return f"It starts from `{base}`, whose own card says what that came from."
    return STARTS.get(family, "What it starts from says `recipe.yaml` beside this card.")


def with_owners_words(results: Results, said: OwnersWords) -> dict[str, Any]:
    """Return results that hold what an owner says of own data, under the name that it has then.

    Args:
        results: of a training.
        said: ``name`` is that of the set which is meant, or of one alone another name for it.

    Raises:
        ValueError: there is no own data, or it is not clear which is meant.
    """
    own = results.get("own_data") or {}
    if not own:
        raise ValueError(
            "its record names no own data. Of benchmarks names and terms are known: leave "
            "--data_name, --data_licence and --data_source out"
        )
    old = str(said.name) if said.name in own or len(own) > 1 else next(iter(own))
    if old not in own:
        raise ValueError(
            f"it was trained on several sets of own data, {', '.join(own)}. Say which is meant: "
            f"--data_name '{next(iter(own))}'"
        )
    name = said.name or old
    given = {"name": name, "licence": said.licence, "source": said.source}
    known = own[old] | {field: words for field, words in given.items() if words}
    changed = {**results, "own_data": own | {old: known}}
    return changed if name == old else _renamed(changed, old, name)


def _renamed(results: Any, old: str, new: str) -> Any:  # noqa: ANN401 - parsed JSON
    """Return results in which a set has another name, wherever they name it."""
    if isinstance(results, list):
        return [_renamed(each, old, new) for each in results]
    if not isinstance(results, Mapping):
        return results
    renamed: dict[str, Any] = {}
    for key, value in results.items():
        if key in ("training_sets", "own_data"):
            renamed[key] = {new if name == old else name: each for name, each in value.items()}
        else:
            named = key == "data" and value == old
            renamed[key] = new if named else _renamed(value, old, new)
    return renamed


def _tuned(results: Results) -> str:
    """Return the model that one of own data goes on from, without the folders that it lies in."""
    base = results.get("base") or {} if results.get("own_data") else {}
    name = str(base.get("model") or "")
    return name if base.get("revision") else Path(name).name


def licence_text(results: Results, model_name: str) -> str:
    """Return the text of the file ``LICENSE``."""
    benchmarks = _of_benchmarks(results)
    return WEIGHTS_LICENCE.substitute(
        model_name=model_name,
        offer=BENCHMARK_OFFER if benchmarks else OWN_OFFER,
        training_data=training_data(results),
        advice=BENCHMARK_ADVICE if benchmarks else OWN_ADVICE,
    )


def front_matter_licence(results: Results) -> dict[str, str | None]:
    """Return the licence fields of a card whose model saw own data and no benchmark; else none.

    A model that goes on from another is under the terms of both; one that does not is under those
    that its owner names, or under none that are known.
    """
    if _of_benchmarks(results):
        return {}
    if results.get("seen_before"):
        return {"license_name": "code-apache-2.0-weights-as-their-data"}
    stated = {known.get("licence") for known in results["own_data"].values()}
    licence = stated.pop() if len(stated) == 1 else None
    fields: dict[str, str | None] = dict.fromkeys(("license", "license_name", "license_link"))
    fields |= OwnersWords(licence=licence).front_matter()
    return fields | ({"license_link": "LICENSE"} if fields["license"] == "other" else {})


def _sets(results: Results) -> Mapping[str, int | None]:
    """Return the training sets; where none are recorded, the data of the first report."""
    if (sets := results.get("training_sets")) is not None:
        return sets
    return {data_name(next(iter(evaluation_reports(results)))): None}


def _of_benchmarks(results: Results) -> bool:
    """Tell whether the model itself was trained on a set that is no own data and not drawn."""
    own = results.get("own_data") or {}
    return not own or bool(set(_sets(results)) - set(own) - {DRAWN})


def _names_benchmark(words: str) -> bool:
    return any(each.title in words for each in BENCHMARKS.values())


def _own_set(known: Mapping[str, Any], count: int | None) -> str:
    """Say what its owner says of a set of own data, and ask for what is missing."""
    said = [f"{known['name']}, {count:,} training pictures of own data."]
    said.append(OwnersWords(licence=known.get("licence"), source=known.get("source")).sentences())
    if known.get("from_class_names"):
        said.append("Its captions were made of class names, so it has learned kinds, no details.")
    if not known.get("captioned", True):
        said.append("It has no captions: the picture side alone learnt from it, no word did.")
    return " ".join(said)


def _training_set(name: str, count: int | None) -> str:
    """Say what is known of one training set."""
    if name == DRAWN:
        return (
            f"{count:,} scenes drawn by our own code (Apache-2.0): other ones than those of the "
            "demo's gallery, described in many of the same sentences"
        )
    if name == RSOD:
        pictures = "train pictures" if count is None else f"{count:,} train pictures"
        return f"{RSOD_SOURCE}, {pictures}: {RSOD_TERMS}"
    if name not in BENCHMARKS:
        return name
    known = BENCHMARKS[name]
    official = known.images[TRAIN]
    if count is None:
        pictures = "train pictures"
    elif count == official:
        pictures = f"train, all {count:,} pictures"
    else:
        pictures = f"train, {count:,} of the official {official:,} pictures"
    return f"{known.title} ({known.source}), {pictures}: {known.terms}"
