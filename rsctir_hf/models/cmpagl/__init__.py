"""CMPAGL-style retrieval model, from the published description (no code was released)."""

from .configuration_cmpagl import CMPAGLConfig
from .modeling_cmpagl import CMPAGLModel, CMPAGLPreTrainedModel
from .outputs_cmpagl import CMPAGLOutput
from .processing_cmpagl import CMPAGLProcessor

__all__ = [
    "CMPAGLConfig",
    "CMPAGLModel",
    "CMPAGLOutput",
    "CMPAGLPreTrainedModel",
    "CMPAGLProcessor",
]
