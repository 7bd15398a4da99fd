"""The quality of a dataset: measured while it is rendered, and reported."""
