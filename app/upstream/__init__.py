"""The way to the backends: which one, which endpoint of it, and the exchange with it."""
