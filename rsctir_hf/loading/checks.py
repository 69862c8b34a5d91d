"""What loading any kind of model has in common: refusals, one clear sentence, a fingerprint.

transformers fills a weight that a file lacks with random numbers and only warns. A model like that
answers every query with nonsense, so ``check_weights`` refuses it.
"""

import hashlib
import logging
from collections.abc import Iterable
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn

from rsctir_hf.errors import ModelLoadError
from rsctir_hf.loading.hub_files import ModelFiles

logger = logging.getLogger(__name__)

_NAMED_KEYS = 3  # how many parameter names an error message lists
_LONGEST_REASON = 500  # characters of somebody else's message
# What transformers, huggingface_hub and remote code raise on files that do not fit.
LOADING_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    ImportError,
    SafetensorError,
    StrictDataclassError,
)


def weights_fingerprint(model: nn.Module) -> str:
    """Return 16 hexadecimal digits that change with any weight of ``model``.

    It ties an index to the model that made it, wherever the files lie.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def check_device(device: str) -> None:
    """Refuse a device that this machine lacks, before a long load.

    Raises:
        ModelLoadError: no such device here.
    """
    try:
        torch.zeros(1).to(device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelLoadError(
            f"The model cannot run on device {device!r}: {str(error).strip().splitlines()[0]} "
            "Use cpu, or cuda or mps where PyTorch supports them on this machine."
        ) from error


def load_part(
    auto_class: Any,  # noqa: ANN401 - the Auto classes share no base
    files: ModelFiles,
    what: str,
    **options: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Load a part of a model with one of transformers' Auto classes.

    Args:
        auto_class: such as ``AutoProcessor``.
        files: what ``find_model_files`` found.
        what: the part in a word, for the message.
        options: of ``from_pretrained``.

    Raises:
        ModelLoadError: one sentence and a remedy, whatever transformers raised.
    """
    try:
        return auto_class.from_pretrained(files.folder, **options)
    except Exception as error:  # tokenizers raises plain Exceptions
        raise ModelLoadError(explain_loading(files, what, error)) from error


def load_weights(auto_class: Any, files: ModelFiles, what: str, *, trust_remote_code: bool) -> Any:  # noqa: ANN401
    """Load a model in float32, and refuse it where some weights would be random.

    The arguments are those of ``load_part``.

    Raises:
        ModelLoadError: see ``load_part`` and ``check_weights``.
    """
    model, info = load_part(
        auto_class,
        files,
        what,
        trust_remote_code=trust_remote_code,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # so that check_weights reports the sizes, all at once
        dtype=torch.float32,
    )
    check_weights(files.name, info)
    return model


def check_weights(name: str, info: dict[str, Any]) -> None:
    """Refuse a model of which some weights are random.

    Args:
        name: folder or Hub id, for the message.
        info: what ``from_pretrained(output_loading_info=True)`` returned beside the model.

    Raises:
        ModelLoadError: names the first weights that are missing or of another shape.
    """
    missing = info["missing_keys"]
    mismatched = [str(entry[0]) for entry in info["mismatched_keys"]]
    if missing or mismatched or info.get("error_msgs"):
        lines = [
            f"{len(keys)} weights {what} ({first_keys(keys)})"
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


def first_keys(keys: Iterable[str]) -> str:
    """Return the first few names of parameters, for a message."""
    named = sorted(keys)
    return ", ".join(named[:_NAMED_KEYS]) + (", ..." if len(named) > _NAMED_KEYS else "")


def explain_loading(files: ModelFiles, what: str, error: BaseException) -> str:
    """Turn an error of transformers into one sentence and a remedy."""
    text = " ".join(str(error).split()).partition(" Model type should be one of")[0]
    if len(text) > _LONGEST_REASON:
        text = f"{text[:_LONGEST_REASON]}..."
    if "trust_remote_code" in text or "custom code" in text:
        remedy = (
            "It comes with its own Python code. Read that code, then pass trust_remote_code=True "
            "(--trust-remote-code) if you trust it."
        )
    elif "Unrecognized configuration class" in text:
        remedy = f"It is a model of another kind than this {what}. Give another id or folder."
    elif files.revision is None:
        remedy = "Copy the folder again, whole and from one model."
    else:
        remedy = (
            f"Its files are damaged, on the Hub or in the cache. Remove {files.folder.parents[1]} "
            "and try again; if it stays so, tell the model's owner."
        )
    return f"The {what} of {files.name!r} could not be loaded: {text} {remedy}"
