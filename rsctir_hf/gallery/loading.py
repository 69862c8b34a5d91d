"""Load a dual encoder and its processor from a folder or the Hub, or say clearly why not.

transformers fills a weight that a file lacks with random numbers and only warns. A model like that
answers every query with nonsense, so it is refused here.
"""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModel, AutoProcessor

from rsctir_hf.errors import ModelLoadError
from rsctir_hf.protocols import DualEncoder

logger = logging.getLogger(__name__)

_WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin")
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
_NAMED_KEYS = 3  # how many parameter names an error message lists
# What transformers, huggingface_hub and remote code raise on files that do not fit.
_LOADING_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    ImportError,
    SafetensorError,
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
    _check_device(device)
    if name and Path(name).is_dir():
        check_model_folder(Path(name))
    elif not name or Path(name).exists() or not _could_be_hub_id(name):
        raise ModelLoadError(
            f"{name!r} is neither a model folder nor a Hub id. Give an existing folder that holds "
            "config.json, or an id such as 'openai/clip-vit-base-patch32'."
        )
    try:
        model, info = AutoModel.from_pretrained(
            name,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that the sizes are reported below, all at once
            dtype=torch.float32,
        )
    except _LOADING_ERRORS as error:
        raise ModelLoadError(_explain(name, "model", error)) from error
    _check_weights(name, info)
    try:
        processor = AutoProcessor.from_pretrained(name, trust_remote_code=trust_remote_code)
    except _LOADING_ERRORS as error:
        raise ModelLoadError(_explain(name, "processor", error)) from error
    if not isinstance(model, DualEncoder) or not hasattr(processor, "tokenizer"):
        raise ModelLoadError(
            f"{name!r} is a {type(model).__name__} with a {type(processor).__name__}. Expected a "
            "dual encoder: a model with get_image_features and get_text_features (CMPAGL, GaLR, "
            "CLIP, SigLIP) and a processor for pictures and text."
        )
    revision = getattr(model.config, "_commit_hash", None)
    return LoadedModel(cast(nn.Module, model).eval().to(device), processor, name, revision)


def weights_fingerprint(model: nn.Module) -> str:
    """Return 16 hexadecimal digits that change with any weight of ``model``.

    It ties an index to the model that made it, wherever the files lie.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _check_device(device: str) -> None:
    """Refuse a device that this machine lacks, before a long load."""
    try:
        torch.zeros(1).to(device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelLoadError(
            f"The model cannot run on device {device!r}: {str(error).strip().splitlines()[0]} "
            "Use cpu, or cuda or mps where PyTorch supports them on this machine."
        ) from error


def _could_be_hub_id(name: str) -> bool:
    """Hub ids are ``name`` or ``owner/name``; anything that looks like a path is not one."""
    return bool(name) and name.count("/") <= 1 and not name.startswith((".", "/", "~"))


def check_model_folder(folder: Path) -> None:
    """Refuse a model folder that lacks files, before transformers looks for them on the Hub.

    Raises:
        ModelLoadError: names what is missing.
    """
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not any(any(folder.glob(pattern)) for pattern in _WEIGHT_PATTERNS):
        missing.append("model.safetensors")
    if not any((folder / name).is_file() for name in _PROCESSOR_FILES):
        missing.append(_PROCESSOR_FILES[0])
    if missing:
        raise ModelLoadError(
            f"The model folder {folder} lacks {', '.join(missing)}. Expected what "
            "model.save_pretrained and processor.save_pretrained write: config.json, "
            "model.safetensors, processor_config.json and the tokenizer's files. "
            "Copy the folder again, or name the folder that holds them."
        )


def _check_weights(name: str, info: dict[str, Any]) -> None:
    """Refuse a model of which some weights are random."""
    missing = sorted(info["missing_keys"])
    mismatched = sorted(str(entry[0]) for entry in info["mismatched_keys"])
    if missing or mismatched or info.get("error_msgs"):
        lines = [
            f"{len(keys)} weights {what} ({', '.join(keys[:_NAMED_KEYS])}"
            f"{', ...' if len(keys) > _NAMED_KEYS else ''})"
            for keys, what in ((missing, "are missing"), (mismatched, "have another shape"))
            if keys
        ]
        lines += [str(message) for message in info.get("error_msgs") or ()]
        raise ModelLoadError(
            f"The weights of {name!r} do not fit its config.json: {'; '.join(lines)}. The rest "
            "would be random. Use config.json and model.safetensors of one and the same model."
        )
    if info["unexpected_keys"]:
        unused = sorted(info["unexpected_keys"])
        logger.warning("%s: %d weights are not used, first %s", name, len(unused), unused[0])


def _explain(name: str, what: str, error: BaseException) -> str:
    """Turn an error of transformers into one sentence and a remedy."""
    text = " ".join(str(error).split())
    if "trust_remote_code" in text or "custom code" in text:
        remedy = (
            "It comes with its own Python code. Read that code, then pass trust_remote_code=True "
            "(--trust-remote-code) if you trust it."
        )
    elif Path(name).is_dir():
        remedy = "Copy the folder again, whole and from one model."
    else:
        remedy = (
            "Check the spelling at https://huggingface.co, that you may read it (hf auth login), "
            "and the network; or give a model folder."
        )
    return f"The {what} of {name!r} could not be loaded: {text} {remedy}"
