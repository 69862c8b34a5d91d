"""Tests of rsctir_hf.scene."""
