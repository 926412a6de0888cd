"""What a gateway does in a cluster with many routes: the measures of the public benchmark of Gateway API
implementations (github.com/howardjohn/gateway-api-bench), for any GatewayClass.

``python -m benchmarks.cluster`` measures all rows; ``--help`` says what can be chosen. It makes namespaces of its own,
and removes them. It has to reach the addresses of Gateways, and what the gateway uses is told only where its pods run
on the same machine.

``api`` asks the API server, ``bed`` is what all rows stand on, ``asking`` sends requests through the gateway; the rows
are in ``counting``, ``propagation``, ``scale`` and ``flapping``, and ``report`` holds them against bars and peers.
"""
