"""Proxies as one would write them with the Python libraries of the trade: small, streaming, with a pool of connections.

They run in an environment of their own, which ``benchmarks.install`` makes; nothing of the project is imported.
"""
