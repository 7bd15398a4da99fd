"""The network of the model that ships, in PyTorch, for GPUs where TensorFlow is not to be had.

1. `python -m experiments.default_model.mirror.speech`, with this project installed: the speech to
   train on, noise and rooms, in a folder that is small enough to be sent somewhere.
2. `python -m experiments.default_model.mirror.train`, on the GPU, with PyTorch 2.11 and soundfile:
   trains on mixtures that the GPU draws, each of them once.
3. `python -m experiments.default_model.mirror.weights`, with this project again: a folder as
   `training.train` leaves one, for `training.evaluate`, `training.export` and to go on from.
"""

# What the first command packs beside the speech, and the second one reads.
SPEAKERS, NOISE, ROOMS = "speakers.json", "noise.flac", "rooms.npy"
