"""Where the files of a model lie: in a folder, or on the Hub, from which they are fetched first.

Every door that loads a model comes through ``find_model_files``. From there on a model of the Hub
is a folder like any other, of one commit, whole and without pickles; what can go wrong on the way
is said here in one sentence and a remedy.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import CONFIG_MAPPING
from transformers import __version__ as transformers_version

from rsctir_hf.errors import ModelLoadError
from rsctir_hf.files.atomic import parse_json

CONFIG_FILE = "config.json"
ADAPTER = "adapter"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")  # as PEFT writes them
BASE_FILE = "base.json"  # what we write beside them
LABELS_FILE = "labels.safetensors"  # a label head beside a model
# Weights are read from safetensors only: a pickle can run any code when it is opened.
_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
#: What makes a folder a model's, whatever else lies in it.
MODEL_FILES = (
    *(CONFIG_FILE, *_WEIGHTS, *_PROCESSOR_FILES, "tokenizer*.json"),
    *("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"),
)
# Configurations, tokenizers, templates and code; variants, other frameworks and logs stay there.
_FETCHED = [
    *_WEIGHTS,
    ADAPTER_FILES[1],
    LABELS_FILE,
    "*.json",
    "*.txt",
    "*.model",
    "*.jinja",
    "*.py",
]
_SUBFOLDERS = ["*/*"]
_EXAMPLES = {"model": "openai/clip-vit-base-patch32", "detector": "hustvl/yolos-tiny"}
_EXAMPLES["text model"] = "google-bert/bert-base-uncased"
_EXAMPLES[ADAPTER] = "OWNER/NAME"
# A wheel brings no weights, so whoever installed one is told where they are.
_SHIPPED = {
    "model": " The models of this project lie in checkpoints/ of its repository: clone that with "
    "`git clone --depth 1`, and name the folder there."
}
# Written into every config.json by some version of transformers, whatever the model.
_SHARED_KEYS = {"auto_map", "model_type", "torch_dtype", "transformers_version", "use_cache"}
_RETIRED_KEYS = {"confident_score"}  # of models made by 0.1; it never changed a vector
_UNAUTHORIZED = 401
# The Hub also answers 401 where somebody without a token asks for what does not exist.
_BAD_TOKEN = "Invalid credentials"

_PATH_STARTS = (".", "/", "~", "checkpoints/")


@dataclass(frozen=True)
class ModelFiles:
    """A model that is there to be loaded.

    Attributes:
        name: the folder or Hub id it was asked for by.
        folder: where its files lie; in the Hub's cache for an id.
        revision: the commit on the Hub, or None for a folder.
    """

    name: str
    folder: Path
    revision: str | None = None


def find_model_files(
    source: str | Path, *, what: str = "model", revision: str | None = None, processor: bool = True
) -> ModelFiles:
    """Find the folder of a model; what lies on the Hub is fetched, or taken from the cache.

    Args:
        source: a folder, or an id on the Hub.
        what: ``model``, ``detector`` or ``text model``, for messages; or ``adapter``, which has
            files of its own.
        revision: branch, tag or commit on the Hub; default: its main branch.
        processor: whether a processor belongs to it.

    Raises:
        ModelLoadError: nothing there, files missing, weights as pickles only, a config.json of a
            newer version, or the Hub refuses or cannot be reached.
    """
    name = str(source)
    if name and Path(name).is_dir():
        if revision is not None:
            raise ModelLoadError(
                f"revision is {revision!r} and {name} is a folder, which has no revisions. Give "
                "the model's id on the Hub, or leave the revision out."
            )
        files = ModelFiles(name, Path(name))
    elif not name or Path(name).exists() or not could_be_hub_id(name):
        article, held = ("an", ADAPTER_FILES[0]) if what == ADAPTER else ("a", CONFIG_FILE)
        raise ModelLoadError(
            f"{name!r} is neither {article} {what} folder nor a Hub id. Give an existing folder "
            f"that holds {held}, or OWNER/NAME on the Hub, such as "
            f"{_EXAMPLES[what]!r}.{_SHIPPED.get(what, '')}"
        )
    else:
        # All of one commit. Of an interrupted download nothing is left that would pass for whole.
        try:
            folder = snapshot_download(
                name, revision=revision, allow_patterns=_FETCHED, ignore_patterns=_SUBFOLDERS
            )
        except (HTTPError, OSError, ValueError) as error:
            raise ModelLoadError(explain_refusal(name, what, error, revision=revision)) from error
        files = ModelFiles(name, Path(folder), Path(folder).name)
    check_model_files(files, what=what, processor=processor)
    return files


def from_any_folder(name: str) -> str:
    """Return how a model is named wherever the process runs: folders by their whole path."""
    return os.path.abspath(name) if name and os.path.isdir(name) else name


def could_be_hub_id(name: str) -> bool:
    """Hub ids are ``name`` or ``owner/name``; anything that looks like a path is not one.

    Nor is ``checkpoints/NAME``: that is this repository's own folder, and whoever had the name
    ``checkpoints`` on the Hub could answer wherever the folder is absent.
    """
    return bool(name) and name.count("/") <= 1 and not name.startswith(_PATH_STARTS)


def could_be_dataset_id(name: str) -> bool:
    """Ids of data sets are ``owner/name``; see ``could_be_hub_id``."""
    return could_be_hub_id(name) and name.count("/") == 1


def check_model_files(files: ModelFiles, *, what: str = "model", processor: bool = True) -> None:
    """Refuse a model that lacks files or was made with a newer version.

    The options are those of ``find_model_files``.

    Raises:
        ModelLoadError: names what is missing or unknown.
    """
    if what == ADAPTER:
        _check_adapter_files(files)
        return
    if missing := _missing_files(files.folder, processor=processor):
        if all((files.folder / name).is_file() for name in ADAPTER_FILES):
            raise ModelLoadError(
                f"{files.name} is an adapter, which belongs to a model. Name that as the model, "
                "and this as its adapter: --model MODEL --adapter ADAPTER (adapter= in Python)."
            )
        if pickles := _only_pickles(files):
            raise ModelLoadError(
                f"{files.name} has its weights as pickles only ({', '.join(pickles)}). A pickle "
                "can run any code when it is opened, so it is not loaded. Ask its owner for "
                "model.safetensors (https://huggingface.co/docs/safetensors/convert-weights)."
            )
        raise ModelLoadError(
            f"The {what} folder {files.name} lacks {', '.join(missing)}. Expected what "
            "save_pretrained of a model and of its processor write: config.json, "
            "model.safetensors, processor_config.json and a tokenizer's files. Copy the folder "
            "again, or name the folder or Hub id that holds them."
        )
    _check_version(files)


def remove_other_kind(folder: Path, *, adapter: bool, families: Iterable[str]) -> None:
    """Remove the model that an adapter was written over, or the adapter that a model was.

    Args:
        folder: holds what was written last.
        adapter: that is an adapter.
        families: whose files of code go too, such as ``modeling_FAMILY.py``.
    """
    code = (f"*_{family}.py" for family in families)
    for pattern in (*code, *(MODEL_FILES if adapter else (*ADAPTER_FILES, BASE_FILE))):
        for file in folder.glob(pattern):
            file.unlink()


def _check_adapter_files(files: ModelFiles) -> None:
    missing = [name for name in ADAPTER_FILES if not (files.folder / name).is_file()]
    if missing:
        raise ModelLoadError(
            f"The adapter {files.name} lacks {', '.join(missing)}. Expected what PEFT's "
            f"save_pretrained writes, with weights as safetensors: {' and '.join(ADAPTER_FILES)}. "
            "Copy the folder again, or name the folder or Hub id that holds them."
        )


def _missing_files(folder: Path, *, processor: bool) -> list[str]:
    """Name the files that every model folder holds and this one lacks."""
    missing = [] if (folder / CONFIG_FILE).is_file() else [CONFIG_FILE]
    if not any(any(folder.glob(pattern)) for pattern in _WEIGHTS):
        missing.append(_WEIGHTS[0])
    if processor and not any((folder / name).is_file() for name in _PROCESSOR_FILES):
        missing.append(_PROCESSOR_FILES[0])
    return missing


def _only_pickles(files: ModelFiles) -> list[str]:
    """Name the pickles that stand in for safetensors, in a folder or on the Hub."""
    if any(any(files.folder.glob(pattern)) for pattern in _WEIGHTS):
        return []
    names = [file.name for file in files.folder.iterdir()]
    if files.revision:
        with suppress(HTTPError, OSError):  # offline: the listing is not known
            names = HfApi().list_repo_files(files.name, revision=files.revision)
    return sorted(name for name in names if name.endswith(_PICKLES))


def _check_version(files: ModelFiles) -> None:
    """Refuse a config.json that says more than this version understands.

    A switch that is not known would be passed over, and the model give other vectors.
    """
    try:
        config = parse_json((files.folder / CONFIG_FILE).read_text(encoding="utf-8"))
        kind = config.get("model_type")
    except (OSError, ValueError, AttributeError):
        return  # damaged; said where it is loaded
    unknown: list[str] = []
    if isinstance(kind, str) and kind in CONFIG_MAPPING:
        family = CONFIG_MAPPING[kind]
        # transformers' own families have piled up keys over the years that mean nothing any more.
        if not family.__module__.startswith("transformers."):
            known = {*family().to_dict(), *_SHARED_KEYS, *_RETIRED_KEYS}
            unknown = sorted(set(config) - known)
    elif kind and not config.get("auto_map"):
        unknown = [f"model_type {kind!r}"]
    if unknown:
        raise ModelLoadError(
            f"{files.name} was made with a newer version: its config.json has "
            f"{', '.join(unknown)}, which rsctir_hf here and transformers {transformers_version} "
            "do not know. Run: pip install --upgrade rsctir_hf transformers. Or load an older "
            "revision of the model."
        )


def explain_refusal(
    name: str, what: str, error: BaseException, *, revision: str | None = None
) -> str:
    """Say in a sentence and a remedy why the Hub gave nothing, or not all.

    Args:
        name: the id.
        what: ``model``, ``detector`` or ``data set``.
        error: what huggingface_hub raised.
        revision: what was asked for.
    """
    hub = constants.ENDPOINT
    text = " ".join(str(error).split())
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, GatedRepoError):
        return (
            f"The {what} {name!r} is gated (403): its owner says who may have it. Ask for access "
            f"at {hub}/{name}, then log in with `hf auth login` or set HF_TOKEN."
        )
    if isinstance(error, RevisionNotFoundError):
        return (
            f"The {what} {name!r} has no revision {revision!r}. Expected a branch, tag or commit."
        )
    if status == _UNAUTHORIZED and _BAD_TOKEN in text:
        return (
            f"{hub} refuses your token (401), so the {what} {name!r} was not asked for. Log in "
            "again with `hf auth login`, or correct or unset HF_TOKEN."
        )
    if isinstance(error, RepositoryNotFoundError) or status == _UNAUTHORIZED:
        return (
            f"There is no {what} {name!r} on {hub} that you may see ({status}). Check the "
            "spelling: OWNER/NAME; a private one needs `hf auth login` or HF_TOKEN; or give a "
            f"folder.{_SHIPPED.get(what, '')}"
        )
    if isinstance(error, HFValidationError):
        return f"{name!r} is no id on the Hub: {error} Expected OWNER/NAME."
    if isinstance(error, LocalEntryNotFoundError):
        return (
            f"{hub} cannot be reached, or HF_HUB_OFFLINE is set, and the {what} {name!r} is not "
            "in the cache. Check the network and the spelling, OWNER/NAME, or give a "
            f"folder.{_SHIPPED.get(what, '')}"
        )
    if status is not None:
        return f"{hub} refuses the {what} {name!r} ({status}): {text}"
    return (
        f"The download of the {what} {name!r} was interrupted: {text} Nothing half-finished is "
        "used. Check the network and the space on the disk, and try again."
    )
