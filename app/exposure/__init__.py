"""How a Gateway is reached in a cluster: the ports that its listeners are bound to, its Service and EndpointSlices."""
