"""What made the models that ship; not installed."""
