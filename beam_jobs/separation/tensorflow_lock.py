"""The lock that threads take to run a SavedModel."""

import threading

# TensorFlow 2.12's oneDNN kernels corrupt the heap if threads run one model at the same time on
# inputs of different shapes. A call uses all cores, so taking turns costs next to nothing.
ONE_AT_A_TIME = threading.Lock()
