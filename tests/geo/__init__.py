"""Tests of rsctir_hf.geo."""
