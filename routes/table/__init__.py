"""Which rule takes a request: from a graph to look-ups by port, host, path and predicates.

In: a :class:`~routes.graph.nodes.Graph`, and a function that makes what a rule is served by. Out: a
:class:`~routes.table.types.RoutingTable`. Not here: serving; the table is generic in what it finds.
"""
