"""The separator that ships with the project: its data, its training, its marks."""
