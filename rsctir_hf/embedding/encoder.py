"""Load a dual encoder and its processor from a folder or the Hub, or say clearly why not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn
from transformers import AutoModel, AutoProcessor

from rsctir_hf.embedding.roles import DualEncoder
from rsctir_hf.errors import ModelLoadError
from rsctir_hf.loading.checks import check_device, load_part, load_weights
from rsctir_hf.loading.hub_files import find_model_files


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
    source: str | Path,
    *,
    device: str = "cpu",
    trust_remote_code: bool = False,
    revision: str | None = None,
) -> LoadedModel:
    """Load a model and its processor.

    Args:
        source: a model folder, or an id on the Hub.
        device: where the model runs.
        trust_remote_code: run Python code that comes with the model. Not needed for the
            families of this package.
        revision: branch, tag or commit on the Hub; default: its main branch.

    Raises:
        ModelLoadError: nothing there, files missing, damaged or not fitting each other, weights as
            pickles only, a model of a newer version or that is no dual encoder, no such device
            here, or the Hub refuses or cannot be reached.
    """
    check_device(device)
    files = find_model_files(source, revision=revision)
    model = load_weights(AutoModel, files, "model", trust_remote_code=trust_remote_code)
    processor = load_part(AutoProcessor, files, "processor", trust_remote_code=trust_remote_code)
    if not isinstance(model, DualEncoder) or not hasattr(processor, "tokenizer"):
        raise ModelLoadError(
            f"{files.name!r} is a {type(model).__name__} with a {type(processor).__name__}. "
            "Expected a dual encoder: a model with get_image_features and get_text_features "
            "(CMPAGL, GaLR, CLIP, SigLIP) and a processor for pictures and text."
        )
    ready = cast(nn.Module, model).eval().to(device)
    return LoadedModel(ready, processor, files.name, files.revision)
