"""Measures of how well speakers were separated, with bounds and reports; needs no TensorFlow."""
