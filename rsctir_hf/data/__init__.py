"""Captioned picture sets: loading, converting, checking, and feeding a training run."""
