"""Speaker embeddings: numbers by which two stretches of speech are known as one voice or two.

`speech` packs what is heard, `train` trains on it, `evaluate` measures on speakers held out, and
`export` writes the model that separation takes.
"""
