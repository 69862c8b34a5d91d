"""Finding remote-sensing images with words, and words for images.

Importing this package registers both model families and the detector with transformers' Auto
classes, so ``AutoModel``, ``AutoModelForObjectDetection`` and ``pipeline`` load them without
``trust_remote_code``. The services (``Encoder``, ``Retriever``, ``evaluate_retrieval``,
``load_benchmark``, ``load_detector``) load on first use.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForObjectDetection,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)

from rsctir_hf.models.cmpagl import CMPAGLConfig, CMPAGLModel, CMPAGLProcessor
from rsctir_hf.models.galr import GaLRConfig, GaLRModel, GaLRProcessor
from rsctir_hf.models.overhead import OverheadDetector, OverheadDetectorConfig

try:
    __version__ = version("rsctir_hf")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0.0.0"

#: Public names that need more than the models, with the module each comes from.
_LAZY_NAMES = {
    "Encoder": "rsctir_hf.embedding.encoder",
    "Hit": "rsctir_hf.search.hits",
    "Retriever": "rsctir_hf.search.retriever",
    "evaluate_retrieval": "rsctir_hf.evaluation",
    "load_benchmark": "rsctir_hf.data.benchmarks",
    "load_detector": "rsctir_hf.regions.detector",
}

__all__ = [
    "CMPAGLConfig",
    "CMPAGLModel",
    "CMPAGLProcessor",
    "Encoder",
    "GaLRConfig",
    "GaLRModel",
    "GaLRProcessor",
    "Hit",
    "OverheadDetector",
    "OverheadDetectorConfig",
    "Retriever",
    "__version__",
    "evaluate_retrieval",
    "load_benchmark",
    "load_detector",
]


def _register(
    config: type[PreTrainedConfig], model: type[PreTrainedModel], processor: type[ProcessorMixin]
) -> None:
    """Make one family known to the Auto classes; importing twice does no harm."""
    AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoModel.register(config, model, exist_ok=True)
    AutoModelForZeroShotImageClassification.register(config, model, exist_ok=True)
    AutoProcessor.register(config, processor, exist_ok=True)


_register(CMPAGLConfig, CMPAGLModel, CMPAGLProcessor)
_register(GaLRConfig, GaLRModel, GaLRProcessor)
# Its folder names an image processor of transformers itself.
AutoConfig.register(OverheadDetectorConfig.model_type, OverheadDetectorConfig, exist_ok=True)
AutoModelForObjectDetection.register(OverheadDetectorConfig, OverheadDetector, exist_ok=True)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Import a service when its name is first used (PEP 562)."""
    if name not in _LAZY_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY_NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
