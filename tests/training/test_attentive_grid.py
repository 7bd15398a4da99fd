from collections.abc import Callable

import numpy as np
import tensorflow as tf

from schemas.configuration import Configuration
from training.separator import build_separator

MakeConfiguration = Callable[..., Configuration]


def test_the_gradient_of_each_weight_is_how_the_loss_changes_with_it(
    configuration: MakeConfiguration,
) -> None:
    sizes = {"num_filters": 8, "num_hidden": 8, "num_blocks": 2, "num_heads": 2}
    config = configuration(
        "joint_attentive_grid_8k", model={"type": "joint.attentive_grid", "params": sizes}, T=16
    )
    network = build_separator(config).network
    random = np.random.default_rng(0)
    waveform, target = (
        tf.constant(random.normal(0, 1, shape).astype(np.float32))
        for shape in ((1, 4096, 1), (1, 2, 4096, 1))
    )
    variables = network.trainable_variables

    def loss() -> tf.Tensor:
        return tf.reduce_mean((network(waveform) - target) ** 2)

    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, variables)
    for variable, gradient in zip(variables, gradients, strict=True):
        length = float(tf.norm(gradient))
        step = 0.01 * gradient / length
        before = variable.numpy()
        variable.assign(before + step)
        above = float(loss())
        variable.assign(before - step)
        below = float(loss())
        variable.assign(before)
        np.testing.assert_allclose(
            (above - below) / 0.02, length, rtol=0.1, atol=2e-4, err_msg=variable.name
        )
