"""Regions of a picture: detectors, a model's region graph, and what each region contributes.

``to_data`` loads with PyTorch Geometric, on first use: nothing else here needs that package.
"""

from importlib import import_module
from typing import Any

#: Names that need an optional package, with the module each comes from.
_LAZY_NAMES = {"to_data": "rsctir_hf.regions.graph"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Import a name's module when it is first used (PEP 562)."""
    if name not in _LAZY_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY_NAMES[name]), name)
