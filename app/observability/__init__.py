"""What is counted and told of requests while they are served."""
