"""The way to the Hub: pushing a model folder, and filling a model card from a results file."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any, cast

from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

from rsctir_hf.data import BENCHMARKS
from rsctir_hf.errors import ModelLoadError, RsctirError
from rsctir_hf.gallery.loading import check_model_folder

logger = logging.getLogger(__name__)

CARD_FILE = "README.md"
# What a training run leaves beside a model and nobody wants to download.
LEFT_HERE = ["checkpoint-*/**", "runs/**", "*.part", "optimizer.pt", "scheduler.pt", "rng_state*"]
LEFT_HERE += ["training_args.bin", "__pycache__/**", ".git/**"]
DIRECTIONS = ("i2t", "t2i")


class PushError(RsctirError, OSError):
    """A model could not be pushed to the Hub."""


class CardError(RsctirError, ValueError):
    """A model card could not be filled from a results file."""


def push_model(
    folder: str | Path, repo_id: str, *, private: bool = False, revision: str | None = None
) -> str:
    """Upload a model folder as it stands, in one commit; the repository is made if need be.

    Args:
        folder: holds the model, its processor and a filled ``README.md``.
        repo_id: ``OWNER/NAME`` on the Hub.
        private: make a new repository private.
        revision: branch to commit to; default: the main one. A new branch is made.

    Returns:
        The address of the commit.

    Raises:
        ModelLoadError: the folder does not hold a model.
        PushError: no token, no right to write, a malformed name, or the Hub cannot be reached.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ModelLoadError(f"{path} is not a folder. Give the folder that holds the model.")
    check_model_folder(path)
    if not (path / CARD_FILE).is_file():
        logger.warning("%s has no %s: the repository will have no model card", path, CARD_FILE)
    api = HfApi()
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            folder_path=path,
            repo_id=repo_id,
            revision=revision,
            commit_message=f"Upload {path.name}",
            ignore_patterns=LEFT_HERE,
        )
    except HFValidationError as error:
        raise PushError(
            f"{repo_id!r} is no repository name: {error} Expected OWNER/NAME."
        ) from error
    except (HfHubHTTPError, LocalTokenNotFoundError, OSError) as error:
        raise PushError(
            f"{path} could not be pushed to {repo_id}: {' '.join(str(error).split())} "
            "Log in with `hf auth login` and a token that may write there, and check the network."
        ) from error
    return commit.commit_url


def render_model_card(
    template_path: str | Path, results: Mapping[str, Any], *, model_id: str
) -> ModelCard:
    """Fill a card template with the figures of a results file; no figure is written by hand.

    Args:
        template_path: a Markdown file with YAML front matter and ``$placeholders``.
        results: a results file: evaluation reports at any depth, ``git_revision``, ... The first
            report's data set is the one the model was trained on.
        model_id: the name the card's examples use.

    Returns:
        A card whose front matter carries the figures as a model index. ``card.save(path)`` or
        ``str(card)`` gives the file.

    Raises:
        CardError: the template is missing, names an unknown placeholder, or there are no reports.
    """
    path = Path(template_path)
    reports = list(evaluation_reports(results))
    if not reports:
        raise CardError("The results hold no evaluation report (a mapping with 'mR' and 'rerank').")
    first = reports[0]
    fields = {
        "model_id": model_id,
        "model_name": model_id.rsplit("/", 1)[-1],
        "results_table": results_table(reports),
        "training_data": _training_data(first),
        "git_revision": results.get("git_revision") or "not recorded",
        "best_epoch": results.get("best_epoch", "not recorded"),
        "seed": first.get("seed", "not recorded"),
        "image_size": first.get("image_size") or "not recorded",
        "versions": ", ".join(f"{k} {v}" for k, v in (first.get("versions") or {}).items()),
    }
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
    front_matter.eval_results = [cell for report in reports for cell in _eval_results(report)]
    return card


def evaluation_reports(results: Any) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401 - parsed JSON
    """Yield every report in a results file, at any depth."""
    if isinstance(results, Mapping):
        if "mR" in results and "rerank" in results:
            yield results
        else:
            for child in results.values():
                yield from evaluation_reports(child)
    elif isinstance(results, list):
        for child in results:
            yield from evaluation_reports(child)


def results_table(reports: list[Mapping[str, Any]]) -> str:
    """Lay reports out as a Markdown table, one line each, percent with one decimal."""
    keys = [key for key in reports[0] if key.startswith(DIRECTIONS) and "R@" in key] + ["mR"]
    head = ["data", "split", "rerank", *keys, "mR, ties in file order", "mR, caption-aware"]
    head.append("mR, rerank with the caption bank")
    lines = [head, ["---"] * len(head)]
    for report in reports:
        others = [
            (report.get(name) or {}).get("mR")
            for name in ("metrics_stable", "caption_aware", "bank_metrics")
        ]
        figures = [*(report[key] for key in keys), *others]
        cells = ["" if value is None else f"{value:.1f}" for value in figures]
        names = [_data_title(report), str(report.get("split", "")), str(report["rerank"])]
        lines.append(names + cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _eval_results(report: Mapping[str, Any]) -> Iterator[EvalResult]:
    """Turn one report into entries of the model index."""
    rerank = report["rerank"]
    for key, value in report.items():
        if key == "mR" or (key.startswith(DIRECTIONS) and "R@" in key):
            yield EvalResult(
                task_type="image-text-retrieval",
                task_name="Image-text retrieval",
                dataset_type=Path(str(report.get("data") or "unknown")).name,
                dataset_name=_data_title(report),
                dataset_split=str(report.get("split") or "") or None,
                metric_type=key,
                metric_name=key if rerank == "none" else f"{key}, rerank {rerank}",
                metric_value=round(value, 2),
                metric_config=str(rerank),
            )


def _data_title(report: Mapping[str, Any]) -> str:
    name = Path(str(report.get("data") or "unknown")).name
    return BENCHMARKS[name].title if name in BENCHMARKS else name


def _training_data(report: Mapping[str, Any]) -> str:
    name = Path(str(report.get("data") or "unknown")).name
    source = f" ({BENCHMARKS[name].source})" if name in BENCHMARKS else ""
    return _data_title(report) + source
