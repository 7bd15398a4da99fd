"""The upper band: what a separator of 8 kHz leaves out of recordings with more, shared by masks.

`pack` reduces mixtures to energies in bands, and `train` trains a small network on them and puts it
into the bundle of the separator.
"""
