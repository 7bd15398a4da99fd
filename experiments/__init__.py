"""The experiments that made the models that ship; this package is not installed."""
