"""What is served, as people look at it: plain values made from graph, table and numbers, and nothing secret."""
