"""Speaker embeddings: vectors that are close for speech of one speaker, and far apart for two.

`speech` packs the speech of mixture datasets, `train` trains on it, `evaluate` measures the result
on speakers held out, and `export` writes the model for separation.
"""
