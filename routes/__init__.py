"""What goes where: resources in, graph and routing table out. Pure values and functions only."""
