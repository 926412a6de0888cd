"""The Kubernetes API: the client, what is read from it, and the Lease that says who writes."""
