"""Sockets: which are open, whose they are, and the server that speaks HTTP on them."""
