"""LoRA: small matrices beside the weights of a model, trained in their place, then merged (PEFT).

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
"""

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rsctir_hf.errors import MissingDependencyError, ModelLoadError
from rsctir_hf.loading.checks import LOADING_ERRORS, first_keys, weights_fingerprint
from rsctir_hf.loading.hub_files import ADAPTER_FILES, ModelFiles

try:
    import peft
    from peft.tuners.tuners_utils import BaseTunerLayer
except ImportError as error:
    raise MissingDependencyError("peft", "adapter") from error


class AdaptedModel:
    """A model with an adapter in it, until ``merge``.

    Args:
        model: takes the adapter's matrices into its layers, in place, and is frozen but for them.
        config: of the adapter.

    Attributes:
        base: fingerprint of the weights before.
    """

    def __init__(self, model: nn.Module, config: peft.PeftConfig) -> None:
        self.base = weights_fingerprint(model)
        self._model = model
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # between the two
            self._adapted: Any = peft.get_peft_model(model, config)  # type: ignore[arg-type]

    @property
    def config(self) -> Any:  # noqa: ANN401 - of the kind that was given
        """What PEFT writes to ``adapter_config.json``."""
        return self._adapted.peft_config["default"]

    @property
    def weights(self) -> dict[str, Tensor]:
        """The adapter's own, by the names that they are stored under."""
        return peft.get_peft_model_state_dict(self._adapted)

    def load(self, weights: Mapping[str, Tensor]) -> list[str]:
        """Take stored weights over, and return the names that did not fit.

        Raises:
            RuntimeError: some have another shape.
        """
        expected = set(self.weights)
        peft.set_peft_model_state_dict(self._adapted, dict(weights))
        return sorted(expected ^ set(weights))

    @torch.no_grad()
    def round(self) -> None:
        """Round the adapter to half precision, which it is stored in."""
        for weight in self.weights.values():
            weight.copy_(weight.half())

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with base and adapter.

        What merging makes of them may differ in the last digit from machine to machine.
        """
        digest = hashlib.blake2b(self.base.encode(), digest_size=8)
        for name, weight in sorted(self.weights.items()):
            digest.update(name.encode())
            digest.update(weight.detach().cpu().float().contiguous().numpy().tobytes())
        for name, layer in self._adapted.named_modules():
            if isinstance(layer, BaseTunerLayer):
                digest.update(f"{name} {getattr(layer, 'scaling', {})}".encode())
        return digest.hexdigest()

    def merge(self) -> "MergedAdapter":
        """Add the adapter to the weights of the model, which then has its own layers again."""
        merged = MergedAdapter(self.config, self.weights, self.base, self.fingerprint())
        self._adapted.merge_and_unload()
        self._model.requires_grad_(True).__dict__.pop("peft_config", None)
        return merged


@dataclass(frozen=True)
class MergedAdapter:
    """What an adapter was before it was merged.

    Attributes:
        config: what PEFT writes to ``adapter_config.json``.
        weights: the adapter's own.
        base: fingerprint of the model's weights without it.
        fingerprint: of both together, see ``AdaptedModel.fingerprint``.
    """

    config: Any
    weights: Mapping[str, Tensor]
    base: str
    fingerprint: str

    def save(self, folder: Path) -> None:
        """Write configuration and weights, in half precision."""
        self.config.save_pretrained(str(folder))
        stored = {name: weight.half().contiguous() for name, weight in self.weights.items()}
        save_file(stored, folder / ADAPTER_FILES[1], metadata={"format": "pt"})


def load_adapter(model: nn.Module, files: ModelFiles) -> AdaptedModel:
    """Put the adapter of a folder into a model.

    Raises:
        ModelLoadError: it is no LoRA, damaged, or made for another model; the model is of no use
            then.
    """
    try:
        config = peft.PeftConfig.from_pretrained(str(files.folder))
        if config.peft_type != peft.PeftType.LORA:
            raise ModelLoadError(
                f"The adapter {files.name} is of the kind {config.peft_type!s}; expected LoRA, "
                "which can be merged into the weights."
            )
        adapted = AdaptedModel(model, config)
        unfit = adapted.load(load_file(files.folder / ADAPTER_FILES[1]))
    except LOADING_ERRORS as error:
        if isinstance(error, ModelLoadError):
            raise
        raise ModelLoadError(
            f"The adapter {files.name} could not be loaded into this {type(model).__name__}: "
            f"{' '.join(str(error).split())[:300]} Name the model that it was made for, or copy "
            "the adapter again, whole."
        ) from error
    if unfit:
        raise ModelLoadError(
            f"{len(unfit)} weights of the adapter {files.name} do not fit its "
            f"{ADAPTER_FILES[0]} and this {type(model).__name__} ({first_keys(unfit)}). Name the "
            "model that it was made for, or copy the adapter again, whole."
        )
    return adapted
