"""What belongs together: from a snapshot to nodes that know their conditions.

In: a :class:`~routes.snapshot.Snapshot` and :class:`~routes.graph.nodes.Options`. Out: a
:class:`~routes.graph.nodes.Graph`, of which the routing table, the status of every object and the problems to report
are three readings. Not here: anything that serves a request.
"""
