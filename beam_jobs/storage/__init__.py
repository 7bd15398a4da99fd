"""Files on any file system, Google Cloud Storage in particular."""
