"""GaLR (Yuan et al., TGRS 2022): global and local information fused for retrieval."""

from .configuration_galr import GaLRConfig
from .graph_galr import GaLRRegionGraph
from .modeling_galr import GaLRModel, GaLRPreTrainedModel
from .outputs_galr import GaLROutput
from .processing_galr import GaLRProcessor, build_word_tokenizer

__all__ = [
    "GaLRConfig",
    "GaLRModel",
    "GaLROutput",
    "GaLRPreTrainedModel",
    "GaLRProcessor",
    "GaLRRegionGraph",
    "build_word_tokenizer",
]
