"""What is written back to the objects: the graph, read as status."""
