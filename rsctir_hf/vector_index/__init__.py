"""Vector indexes: one contract (``contract.VectorIndex``), four engines, opened by name or URI.

``opening.open_index`` imports an engine's file, and with it the package it stands on, on first use.
"""
