"""Marks for tests of what is not to be had everywhere."""

import importlib.util

import pytest

HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None

needs_tensorflow = pytest.mark.skipif(
    not HAS_TENSORFLOW, reason="TensorFlow 2.12 and Spleeter end with Python 3.11"
)
