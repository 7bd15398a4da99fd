"""The separator that ships with the project: its data, its training, its evaluation."""

from pathlib import Path

# Not looked up as a resource of `training`, which imports it: a GPU may be without TensorFlow.
CONFIGURATION = Path(__file__).parents[2] / "training/configs/joint_attentive_grid_8k.json"

SAMPLE_RATE = 8000
SPLITS = "train=0.86,validation=0.02,test=0.12"


def recipe_path(name: str) -> Path:
    """Returns the path that a recipe of this experiment has; a preset has no file there."""
    return Path(__file__).with_name("recipes") / f"{name}.json"
