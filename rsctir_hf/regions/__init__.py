"""Regions of a picture: detectors, and a model's region graph for people and for PyG."""
