"""Audio files: decoding, encoding and resampling."""
