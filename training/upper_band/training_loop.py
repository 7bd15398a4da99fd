"""Training of the network that shares the upper band."""

import logging
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from training.upper_band.batches import draw_batch
from training.upper_band.losses import loss, mixture_energies
from training.upper_band.network import Network
from training.upper_band.packed_mixtures import Mixtures

_LOG = logging.getLogger(__name__)

_BATCH_SIZE = 24
_LEARNING_RATE = 2e-3
_WARMUP_STEPS = 100
_CLIP_NORM = 5.0
_REPORT_STEPS = 100


def train(mixtures: Mixtures, held_out: Mixtures, num_steps: int, seed: int = 0) -> Network:
    """Trains a network.

    Args:
        mixtures: to train on.
        held_out: on which the loss is reported.
        num_steps: of training.
        seed: of the weights and of the batches.
    """
    tf.keras.utils.set_random_seed(seed)
    network = Network(mixtures.products.shape[2])
    size = min(_BATCH_SIZE, len(mixtures))
    first = draw_batch(mixtures, size, seed, 0)
    find_loss(network, first.lower, first.products)
    # A global seed changes the meaning of the seeds in input pipelines.
    tf.random.set_seed(None)
    optimizer = tf.keras.optimizers.Adam(_LEARNING_RATE, global_clipnorm=_CLIP_NORM)
    optimizer.build(network.trainable_variables)
    _LOG.info("%d windows, %d weights", len(mixtures), network.count_params())

    def take_step(lower: tf.Tensor, products: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            found = find_loss(network, lower, products)
        gradients = tape.gradient(found, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return found

    take_step = tf.function(take_step, autograph=False)
    losses: list[float] = []
    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(draw_batch, mixtures, size, seed, 0)
        for step in range(num_steps):
            batch = following.result()
            following = ahead.submit(draw_batch, mixtures, size, seed, step + 1)
            falling = 0.5 + 0.5 * math.cos(math.pi * step / num_steps)
            optimizer.learning_rate = _LEARNING_RATE * falling * min(1, (step + 1) / _WARMUP_STEPS)
            losses.append(float(take_step(batch.lower, batch.products)))
            if (step + 1) % _REPORT_STEPS == 0 or step + 1 == num_steps:
                _LOG.info(
                    "step %d/%d: loss %.3f, held out %.3f",
                    step + 1,
                    num_steps,
                    np.mean(losses[-_REPORT_STEPS:]),
                    _measure(network, held_out),
                )
    return network


def find_loss(network: Network, lower: tf.Tensor, products: tf.Tensor) -> tf.Tensor:
    """Returns the loss of a network for a batch."""
    return loss(network(lower, mixture_energies(products)), lower, products)


def _measure(network: Network, mixtures: Mixtures) -> float:
    found = [
        float(
            find_loss(
                network,
                mixtures.separated[start : start + _BATCH_SIZE],
                mixtures.products[start : start + _BATCH_SIZE],
            )
        )
        for start in range(0, len(mixtures), _BATCH_SIZE)
    ]
    return float(np.mean(found))
