"""Load a dual encoder and its processor from a folder or the Hub, or say clearly why not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn
from transformers import AutoModel, AutoProcessor

from rsctir_hf.errors import ModelLoadError
from rsctir_hf.protocols import DualEncoder
from rsctir_hf.weights import (
    check_device,
    could_be_hub_id,
    load_part,
    load_weights,
    missing_files,
)


@dataclass(frozen=True)
class LoadedModel:
    """A dual encoder ready to run.

    Attributes:
        model: in evaluation mode and float32.
        processor: its processor.
        model_id: the folder or Hub id it came from.
        revision: the commit on the Hub, or None for a folder.
    """

    model: nn.Module
    processor: Any
    model_id: str
    revision: str | None


def load_dual_encoder(
    source: str | Path, *, device: str = "cpu", trust_remote_code: bool = False
) -> LoadedModel:
    """Load a model and its processor.

    Args:
        source: a model folder, or an id on the Hub.
        device: where the model runs.
        trust_remote_code: run Python code that comes with the model. Not needed for the
            families of this package.

    Raises:
        ModelLoadError: nothing there, files missing, damaged or not fitting each other, a model
            that is no dual encoder, or no such device here.
    """
    name = str(source)
    check_device(device)
    if name and Path(name).is_dir():
        check_model_folder(Path(name))
    elif not name or Path(name).exists() or not could_be_hub_id(name):
        raise ModelLoadError(
            f"{name!r} is neither a model folder nor a Hub id. Give an existing folder that holds "
            "config.json, or an id such as 'openai/clip-vit-base-patch32'."
        )
    model = load_weights(AutoModel, name, "model", trust_remote_code=trust_remote_code)
    processor = load_part(AutoProcessor, name, "processor", trust_remote_code=trust_remote_code)
    if not isinstance(model, DualEncoder) or not hasattr(processor, "tokenizer"):
        raise ModelLoadError(
            f"{name!r} is a {type(model).__name__} with a {type(processor).__name__}. Expected a "
            "dual encoder: a model with get_image_features and get_text_features (CMPAGL, GaLR, "
            "CLIP, SigLIP) and a processor for pictures and text."
        )
    revision = getattr(model.config, "_commit_hash", None)
    return LoadedModel(cast(nn.Module, model).eval().to(device), processor, name, revision)


def check_model_folder(folder: Path) -> None:
    """Refuse a model folder that lacks files, before transformers looks for them on the Hub.

    Raises:
        ModelLoadError: names what is missing.
    """
    if missing := missing_files(folder):
        raise ModelLoadError(
            f"The model folder {folder} lacks {', '.join(missing)}. Expected what "
            "model.save_pretrained and processor.save_pretrained write: config.json, "
            "model.safetensors, processor_config.json and the tokenizer's files. "
            "Copy the folder again, or name the folder that holds them."
        )
