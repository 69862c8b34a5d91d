"""Adapters: what their folder says of the model they belong to, and how they come into it."""

import json
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from torch import nn

from rsctir_hf.errors import ModelLoadError
from rsctir_hf.files.atomic import parse_json, write_atomically
from rsctir_hf.loading.hub_files import ADAPTER, BASE_FILE, ModelFiles, find_model_files

#: Of the configuration: what training chooses or notes, which no weight holds.
_CHOSEN = ("smr_temperature", "match_weight", "training_images")


@dataclass(frozen=True)
class AdapterBase:
    """The model that an adapter was trained in.

    Attributes:
        model: its folder or Hub id.
        revision: commit on the Hub, or None.
        model_type: its family.
        weights: their fingerprint (``checks.weights_fingerprint``).
        settings: fields of its configuration, as they are with the adapter.
    """

    model: str
    revision: str | None
    model_type: str
    weights: str
    settings: dict[str, Any] = field(default_factory=dict)


def write_base(folder: Path, base: AdapterBase) -> None:
    """Write what ``read_base`` reads."""
    write_atomically(folder / BASE_FILE, json.dumps(asdict(base), indent=2) + "\n")


def read_base(files: ModelFiles) -> AdapterBase | None:
    """Read what ``write_base`` wrote; None where PEFT alone made the adapter.

    Raises:
        ModelLoadError: the file is damaged.
    """
    file = files.folder / BASE_FILE
    if not file.is_file():
        return None
    try:
        base = AdapterBase(**parse_json(file.read_text(encoding="utf-8")))
        kinds = (base.model, base.model_type, base.weights, *base.settings)
        if not all(isinstance(each, str) for each in kinds):
            raise TypeError(f"expected texts, got {kinds}")
    except (OSError, ValueError, TypeError) as error:
        raise ModelLoadError(
            f"{BASE_FILE} of the adapter {files.name} is damaged ({error}). Copy the adapter again."
        ) from error
    return base


def chosen_settings(config: Any) -> dict[str, Any]:  # noqa: ANN401 - each family has its own
    """Return what training chose or noted in a configuration."""
    return {name: getattr(config, name) for name in _CHOSEN if hasattr(config, name)}


@dataclass(frozen=True)
class MergedIn:
    """The adapter that was merged into a model.

    Attributes:
        name: its folder, or ``OWNER/NAME@COMMIT``.
        fingerprint: of weights and adapter together.
    """

    name: str
    fingerprint: str


def merge_adapter(model: nn.Module, source: str | Path, *, into: str) -> MergedIn:
    """Merge an adapter into the weights of the model that it was trained in.

    Args:
        model: changed in place, as are settings of its configuration.
        source: folder or Hub id of the adapter; of an id, ``@`` and a revision may follow.
        into: what the model is called, for messages.

    Raises:
        ModelLoadError: no adapter there, damaged, or made for another model.
        MissingDependencyError: peft is not installed.
    """
    name, _, revision = str(source).partition("@")
    if Path(source).is_dir():
        name, revision = str(source), ""
    files = find_model_files(name, what=ADAPTER, revision=revision or None)
    base, config = read_base(files), cast(Any, model).config
    if base is not None and base.model_type != config.model_type:
        raise ModelLoadError(
            f"The adapter {files.name} was made for {base.model}, of family {base.model_type!r}; "
            f"{into} is of family {config.model_type!r}. Name that model: --model {base.model}."
        )
    # peft takes seconds to be imported, and not everyone has it.
    adapted = import_module("rsctir_hf.loading.lora").load_adapter(model, files)
    if base is not None and base.weights != adapted.base:
        raise ModelLoadError(
            f"The adapter {files.name} was made for {base.model} (weights {base.weights}); the "
            f"weights of {into} are others ({adapted.base}). Name that model: "
            f"--model {base.model}."
        )
    for setting, value in (base.settings if base is not None else {}).items():
        if setting in _CHOSEN:
            setattr(config, setting, value)
    commit = f"@{files.revision}" if files.revision else ""
    return MergedIn(f"{files.name}{commit}", adapted.merge().fingerprint)
