"""Losses that a recipe switches on beside the family's own; one file a system."""
