"""From TFRecords to a model that separates: input, architectures, losses, training, evaluation."""
