"""Training of separation models on TFRecords: input, architectures, losses, evaluation, export."""

import os

# TensorFlow reads these when it is imported, which happens after this. Without the first, it does
# not use oneDNN on processors without AVX-512, although matrix products and convolutions are twice
# as fast with it there too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
