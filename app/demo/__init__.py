"""The article's story on one machine: its manifests, small backends, and the lines to try."""
