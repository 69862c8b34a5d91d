"""CMPAGL-style retrieval model, from the published description (no code was released)."""

from .configuration_cmpagl import CMPAGLConfig
from .modeling_cmpagl import CMPAGLModel, CMPAGLOutput, CMPAGLPreTrainedModel
from .processing_cmpagl import CMPAGLProcessor

__all__ = [
    "CMPAGLConfig",
    "CMPAGLModel",
    "CMPAGLOutput",
    "CMPAGLPreTrainedModel",
    "CMPAGLProcessor",
]
