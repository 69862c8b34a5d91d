"""Model cards: a template filled from a results file, with licence and entries of benchmarks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, cast

import yaml
from huggingface_hub import ModelCard, ModelCardData, eval_result_entries_to_yaml

from rsctir_hf.data.benchmarks import BENCHMARKS
from rsctir_hf.data.own_terms import OwnersWords
from rsctir_hf.errors import RsctirError
from rsctir_hf.evaluation import results_json
from rsctir_hf.files.atomic import parse_json, write_atomically
from rsctir_hf.files.rows import decode
from rsctir_hf.hub.card_data import (
    front_matter_licence,
    gallery_seen,
    how_it_was_made,
    how_to_read,
    licence_text,
    start_of_weights,
    terms_of_weights,
    training_data,
    with_owners_words,
)
from rsctir_hf.hub.card_tables import (
    before_after_table,
    eval_result_entries,
    evaluation_reports,
    is_detection,
    model_index,
    report_key,
    results_table,
)
from rsctir_hf.labels.label_head import head_beside
from rsctir_hf.loading.hub_files import ADAPTER, ADAPTER_FILES

CARD_FILE = "README.md"
RESULTS_FILE = "results.json"
#: What a card takes from the record of a training, beside the reports.
SAID_OF_THE_RUN = (
    "git_revision",
    "best_epoch",
    "training_sets",
    "seen_before",
    "own_data",
    "objectives",
    "base",
    "before_after",
)

LICENCE_FILE = "LICENSE"
NOTHING_SAID = OwnersWords()
EVAL_RESULTS_FOLDER = ".eval_results"  # the Hub's own name
#: Templates lie in the repository, not in the installed package: who trains has a checkout.
TEMPLATES = Path(__file__).parents[2] / "model_cards"


class CardError(RsctirError, ValueError):
    """A model card could not be filled from a results file."""


def render_model_card(
    template_path: str | Path,
    results: Mapping[str, Any],
    *,
    model_id: str,
    hub_ids: Mapping[str, str] | None = None,
) -> ModelCard:
    """Fill a card template with the figures of a results file; no figure is written by hand.

    Args:
        template_path: a Markdown file with YAML front matter and ``$placeholders``.
        results: a results file: evaluation reports at any depth, ``git_revision``,
            ``training_sets`` (name -> pictures), ``own_data`` (what is known of those that are no
            benchmarks), ``seen_before`` (in words, of the model it was tuned from), ... Without
            ``training_sets`` the first report's data set is taken for the one the model was
            trained on.
        model_id: the name the card's examples use.
        hub_ids: see ``hub_ids_of``; the front matter names those of the training sets.

    Returns:
        A card whose front matter carries the figures as a model index. ``card.save(path)`` or
        ``str(card)`` gives the file.

    Raises:
        CardError: the template is missing, names an unknown placeholder, or there are no reports.
    """
    path = Path(template_path)
    known = hub_ids_of(hub_ids or {})
    reports = list(evaluation_reports(results))
    if not reports:
        raise CardError(
            "The results hold no evaluation report (a mapping with 'mR' and 'rerank', or one whose "
            "'metrics' hold 'mAP50')."
        )
    try:
        fields = _fields(reports, results, model_id, family=path.stem)
        figures = [cell for report in reports for cell in model_index(report)]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CardError(
            f"A report of the results cannot be made a table ({error!r}). Expected reports as "
            "`rsctir evaluate --output FILE` writes them."
        ) from error
    try:
        text = Template(path.read_text(encoding="utf-8")).substitute(fields)
    except OSError as error:
        raise CardError(f"The card template {path} cannot be read ({error}).") from error
    except (KeyError, ValueError) as error:
        raise CardError(
            f"{path} names the placeholder {error}; known are {', '.join(sorted(fields))}. "
            "Write $$ for a dollar sign."
        ) from error
    card = ModelCard(text)
    front_matter = cast(ModelCardData, card.data)
    front_matter.model_name = fields["model_name"]
    front_matter.eval_results = figures
    own = results.get("own_data") or {}
    known |= {name: each["hub_id"] for name, each in own.items() if each.get("hub_id")}
    for cell in figures:
        cell.dataset_type = known.get(cell.dataset_name, cell.dataset_type)
    sets = [known[name] for name in results.get("training_sets") or () if name in known]
    front_matter.datasets = sets or None
    for field, value in front_matter_licence(results).items():
        setattr(front_matter, field, value)
    base = results.get("base") or {}
    if base.get("revision"):  # it lies on the Hub
        front_matter.base_model = base["model"]
    return card


def _fields(
    reports: Sequence[Mapping[str, Any]], results: Mapping[str, Any], model_id: str, *, family: str
) -> dict[str, Any]:
    """Return what a template's placeholders stand for."""
    first = reports[0]
    return {
        "model_id": model_id,
        "model_name": model_id.rsplit("/", 1)[-1],
        "results_table": results_table(reports) + before_after(results),
        "training_data": training_data(results),
        "how_to_read": how_to_read(results),
        "terms_of_weights": terms_of_weights(results),
        "gallery_seen": gallery_seen(results),
        "how_it_was_made": how_it_was_made(results),
        "start_of_weights": start_of_weights(results, family),
        "git_revision": _or_unknown(results.get("git_revision")),
        "best_epoch": _or_unknown(results.get("best_epoch"), "g"),
        "seed": _or_unknown(first.get("seed")),
        "objectives": objectives_used(results),
        "base_model": _or_unknown((results.get("base") or {}).get("model")),
        "image_size": _or_unknown(first.get("image_size")),
        "versions": ", ".join(f"{k} {v}" for k, v in (first.get("versions") or {}).items()),
    }


def write_card(
    folder: str | Path,
    *,
    results: Sequence[str | Path] = (),
    model_id: str | None = None,
    template: str | Path | None = None,
    hub_ids: Mapping[str, str] | None = None,
    said: OwnersWords = NOTHING_SAID,
) -> Path:
    """Write ``README.md``, ``LICENSE`` and ``.eval_results`` of a model folder from its results.

    Args:
        folder: holds ``config.json`` and the ``results.json`` of the training run.
        results: further results files, such as ``rsctir evaluate --output`` writes for the test
            split. Where two reports have data, split, rerank and symmetries in common the later
            one counts.
        model_id: the name the card's examples use; default: the folder's name.
        template: default: ``model_cards/FAMILY.md`` of the repository.
        hub_ids: see ``hub_ids_of``; each complete split scored on one of these data sets becomes
            an entry of ``.eval_results``.
        said: by the owner of own data that the model was trained on, see
            ``card_data.with_owners_words``; ``results.json`` keeps it.

    Returns:
        The path of the card.

    Raises:
        CardError: a file is missing or damaged, there is no template for this model, or no own
            data to say anything of.
        QueryError: the label head in the folder is damaged.
    """
    path = Path(folder)
    recorded = _read_json(path / RESULTS_FILE)
    if said:
        try:
            recorded = with_owners_words(recorded, said)
        except ValueError as error:
            raise CardError(f"{path} cannot be described so: {error}.") from error
    reports: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for found in (recorded, *(_read_json(Path(file)) for file in results)):
        for report in evaluation_reports(found):
            reports[report_key(report)] = report
    name = model_id or path.resolve().name
    merged = {key: recorded[key] for key in SAID_OF_THE_RUN if key in recorded}
    merged["reports"] = list(reports.values())
    if head := head_beside(path):
        merged["label_head"] = {"labels": head.labels, **head.learnt_from}
    card = render_model_card(
        template or _template_for(path), merged, model_id=name, hub_ids=hub_ids
    )
    if said:
        write_atomically(path / RESULTS_FILE, results_json(recorded))
    write_atomically(path / LICENCE_FILE, licence_text(merged, name.rsplit("/", 1)[-1]))
    write_atomically(path / CARD_FILE, str(card))
    retrieval = [report for report in reports.values() if not is_detection(report)]
    for benchmark, entries in eval_result_entries(retrieval, hub_ids_of(hub_ids or {})).items():
        text = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)
        write_atomically(path / EVAL_RESULTS_FOLDER / f"{benchmark}.yaml", text)
    return path / CARD_FILE


def hub_ids_of(given: Mapping[str, str]) -> dict[str, str]:
    """Return name -> Hub id of the benchmarks: the public ones that are known, and ``given``.

    Raises:
        CardError: a name in ``given`` is no benchmark.
    """
    if unknown := sorted(set(given) - set(BENCHMARKS)):
        raise CardError(
            f"{', '.join(unknown)}: no such benchmark. Expected NAME=OWNER/DATASET with one of the "
            f"names {', '.join(BENCHMARKS)}."
        )
    public = {name: each.hub_id for name, each in BENCHMARKS.items() if each.hub_id}
    return public | dict(given)


def before_after(results: Mapping[str, Any]) -> str:
    """Return Markdown of what a run has recorded of its start beside its result, if anything."""
    rows = results.get("before_after") or []
    own = [row for row in rows if not row.get("kept")]
    kept = [row for row in rows if row.get("kept")]
    text = ""
    if own:
        text += "\n\nBefore and after: the model that it was tuned from and itself, without rerank."
        if results.get("best_epoch") is not None:
            text += (
                " Validation has chosen the epoch, so that its gain flatters a little; all else was"
                " scored once."
            )
        text += f"\n\n{before_after_table(own)}"
    if kept:
        text += f"\n\nBefore that, the base knew these:\n\n{before_after_table(kept)}"
    return text


def objectives_used(results: Mapping[str, Any]) -> str:
    """Return a sentence on the losses a run had beside its family's own, if any."""
    used = [
        f"{name} ({', '.join(f'{key} {value}' for key, value in options.items())})"
        for name, options in (results.get("objectives") or {}).items()
    ]
    return f" Further losses of its training: {'; '.join(used)}." if used else ""


def _template_for(folder: Path) -> Path:
    """Return the repository's template for the family of a model folder."""
    family: Any = ADAPTER
    if not (folder / ADAPTER_FILES[0]).is_file():
        family = _read_json(folder / "config.json").get("model_type")
    template = TEMPLATES / f"{family}.md"
    if not template.is_file():
        raise CardError(
            f"There is no card template {template}. Run this from a checkout of the repository, "
            "whose model_cards/ holds one for each of our families, or name a template."
        )
    return template


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = parse_json(decode(file.read_bytes()))
    except (OSError, ValueError) as error:
        raise CardError(
            f"{file} is missing or damaged ({error}). Expected a model folder as training/run.py "
            "writes it, and results files as `rsctir evaluate --output FILE` writes them."
        ) from error
    if not isinstance(content, dict):
        raise CardError(f"{file} holds a {type(content).__name__}; expected a JSON object.")
    return content


def _or_unknown(value: Any, layout: str = "") -> str:  # noqa: ANN401 - a cell of a results file
    return "not recorded" if value is None else format(value, layout)
