"""The same network in PyTorch, for a GPU that has PyTorch and no TensorFlow.

1. `python -m experiments.default_model.pytorch.speech`, where this project is installed, packs
   speech to train on, noise and rooms into a folder that is small enough to be copied to the GPU.
2. `python -m experiments.default_model.pytorch.train`, on the GPU, with PyTorch 2.11 and soundfile,
   trains on mixtures that the GPU draws, each of them once. To go on from a bundle, give it what
   `pytorch.weights --bundle BUNDLE --start FILE.npz` makes.
3. `python -m experiments.default_model.pytorch.weights`, where this project is installed, makes a
   model folder as `training.train` leaves it, for `training.evaluate` and `training.export`. To
   train further there, export it and give the bundle to `training.train --start_from`.

`settings.json` has the numbers.
"""

# Files that the first command writes beside the speech, and the second one reads.
DATA, SPEAKERS, NOISE, ROOMS = "data.json", "speakers.json", "noise.opus", "rooms.npy"
