"""The two model families and the detector, each a flat folder that could live on the Hub alone.

A folder imports torch, torchvision, timm, transformers and its own siblings (by relative import),
and nothing else of this package: ``save_pretrained`` copies the siblings beside the weights, and
they must load in a process that has never heard of ``rsctir_hf``.
"""
