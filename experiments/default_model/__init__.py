"""The separator that ships with the project: its data, its training, its marks."""

from importlib import resources

CONFIGURATION = resources.files("training") / "configs/joint_attentive_grid_8k.json"
