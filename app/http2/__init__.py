"""HTTP/2 (RFC 9113) without sockets: bytes in, events and bytes out, for clients and for backends.

``connection`` reads frames and keeps streams and windows, ``server`` and ``client`` are its two roles, ``rules`` says
what a message may be made of, ``compression`` is HPACK, ``limits`` is what a peer may do for nothing.
"""
