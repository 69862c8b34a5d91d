"""Tests; a package so that test modules can share a class by relative import."""
