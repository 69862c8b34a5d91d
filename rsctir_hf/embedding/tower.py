"""A model as it runs over many pictures: a copy for inference, which shares what it can.

On a CPU each batch norm right behind a convolution is folded into it, and the weights of
convolutions lie channels last. ``results/embedding_speed.json`` says what that brings; a vector
moves by less than ``TOLERANCE``. The model itself stays as it is, and may go on to be trained.
"""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from transformers import PreTrainedModel

from rsctir_hf.embedding.encode import embed_inputs

logger = logging.getLogger(__name__)

#: The most that a number of a vector may move by what is prepared; measured: 3e-7.
TOLERANCE = 1e-5
#: Numbers of each weight that are looked at again before a copy is used.
_SAMPLED = 64
#: What a model says that cannot be copied, looked at, or run in another form.
_REFUSALS = (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError)

Example = Callable[[], Mapping[str, Tensor]]


class Tower:
    """Keeps the copy of a model, and makes another when the model has changed.

    Args:
        model: any.
        example: makes its inputs of one picture, whatever it shows.
    """

    def __init__(self, model: nn.Module, example: Example) -> None:
        self._model, self._example = model, example
        self._made: tuple[_State, nn.Module] | None = None

    def ready(self) -> nn.Module:
        """Return the copy, in evaluation mode; the model itself where there can be none.

        A model on another device, or one that is not of transformers and might do anything in its
        forward pass, is not copied.
        """
        if not isinstance(self._model, PreTrainedModel) or self._model.device.type != "cpu":
            return self._model
        made = self._made
        if made is None or not made[0].holds(self._model):
            made = self._made = _State(self._model), inference_copy(self._model, self._example)
        return made[1]


class _State:
    """What a copy was made of: the modules, their hooks, and the weights at that time.

    Writing by way of ``.data`` leaves no trace, so some numbers of each weight that was copied are
    compared as well.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules, self._sample = _modules_of(model), _sample_of(model)
        # The second holds the memory, so that no later weight can lie at the same place.
        self._tensors = [(each, each.detach(), _version(each)) for each in _tensors_of(model)]

    def holds(self, model: nn.Module) -> bool:
        """Tell whether nothing was replaced, written to or hooked into since."""
        modules, tensors = _modules_of(model), _tensors_of(model)
        return (
            len(modules) == len(self._modules)
            and len(tensors) == len(self._tensors)
            and all(
                now[0] is then[0] and now[1:] == then[1:]
                for now, then in zip(modules, self._modules, strict=True)
            )
            and all(
                now is then and now.data_ptr() == held.data_ptr() and _version(now) == version
                for now, (then, held, version) in zip(tensors, self._tensors, strict=True)
            )
            and torch.equal(_sample_of(model), self._sample)
        )


def inference_copy(model: nn.Module, example: Example) -> nn.Module:
    """Return a copy in evaluation mode that shares all weights but those of convolutions.

    Where folding, or the other memory format, moves a vector by more than ``TOLERANCE`` or cannot
    be run, the copy shares these too. Where no copy can be made, it is the model itself.
    """
    try:
        copied = _sharing_copy(model)
    except _REFUSALS as error:
        logger.info("%s is run as it is: %s", type(model).__name__, error)
        return model
    try:
        inputs = example()
        norms, expected = _norms_behind_convolutions(copied, inputs)
        _fold(copied, norms)
        moved = float((embed_inputs(copied, inputs) - expected).abs().max())
        if moved <= TOLERANCE:
            return copied
        logger.info("%s is not folded: a vector moves by %.1g", type(model).__name__, moved)
    except _REFUSALS as error:
        logger.info("%s is not folded: %s", type(model).__name__, error)
    return _sharing_copy(model)


def _sharing_copy(model: nn.Module) -> nn.Module:
    """Copy the modules in evaluation mode, and none of their weights."""
    shared: dict[int, Any] = {id(each): each for each in _tensors_of(model)}
    return copy.deepcopy(model, shared).eval()


def _norms_behind_convolutions(
    model: nn.Module, inputs: Mapping[str, Tensor]
) -> tuple[dict[nn.Module, nn.Conv2d], Tensor]:
    """Run a model once; return each batch norm with the convolution before it, and the vector.

    Both must run just once, one right after the other. Whether a third thing takes what is between
    them cannot be seen here: comparing vectors tells.
    """
    last: list[Any] = [None, None]  # the convolution that ran last and its output
    runs: dict[nn.Module, int] = {}
    found: dict[nn.Module, nn.Conv2d] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        runs[module] = runs.get(module, 0) + 1
        if isinstance(module, nn.Conv2d):
            last[:] = module, output
        elif inputs[0] is last[1]:
            found[module] = last[0]

    watched = [each for each in model.modules() if isinstance(each, nn.Conv2d) or _foldable(each)]
    hooks = [each.register_forward_hook(note) for each in watched if not each._forward_hooks]
    try:
        vector = embed_inputs(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    once = {norm: conv for norm, conv in found.items() if runs[norm] == runs[conv] == 1}
    return once, vector


def _foldable(module: nn.Module) -> bool:
    """Tell whether a module is a batch norm by its stored statistics, and an activation at most."""
    known = type(module) is nn.BatchNorm2d or isinstance(module, BatchNormAct2d)
    return known and module.running_mean is not None


@torch.no_grad()
def _fold(model: nn.Module, norms: Mapping[nn.Module, nn.Conv2d]) -> None:
    """Fold batch norms into convolutions, and lay all convolutions' weights out channels last."""
    for norm, conv in norms.items():
        stored: Any = norm
        conv.weight, bias = fuse_conv_bn_weights(
            conv.weight,
            conv.bias,
            stored.running_mean,
            stored.running_var,
            stored.eps,
            stored.weight,
            stored.bias,
        )
        conv.bias = bias
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if child in norms:
                setattr(parent, name, getattr(child, "act", nn.Identity()))
            elif isinstance(child, nn.Conv2d):
                lying = child.weight.detach().contiguous(memory_format=torch.channels_last)
                child.weight = nn.Parameter(lying, requires_grad=False)


def _modules_of(model: nn.Module) -> list[tuple[nn.Module, int, int]]:
    return [
        (each, len(each._forward_hooks), len(each._forward_pre_hooks)) for each in model.modules()
    ]


def _tensors_of(model: nn.Module) -> Sequence[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _sample_of(model: nn.Module) -> Tensor:
    """Return the first numbers of each weight that a copy does not share."""
    copied = [
        each.detach()
        for module in model.modules()
        if isinstance(module, nn.Conv2d) or _foldable(module)
        for each in _tensors_of(module)
        if each.is_floating_point()
    ]
    first = [each.as_strided((min(_SAMPLED, each.numel()),), (1,)).float() for each in copied]
    return torch.cat([torch.zeros(0), *first])


def _version(tensor: Tensor) -> int:
    """Return how often a tensor was written to; one made in inference mode does not count it."""
    return 0 if tensor.is_inference() else tensor._version
