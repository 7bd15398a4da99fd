"""From TFRecords to a model that separates: input, architectures, losses, training, evaluation."""

import os

# TensorFlow reads these when it is imported, which comes after this. By itself it leaves oneDNN off
# on processors without AVX-512, where products and convolutions are twice as fast with it too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
