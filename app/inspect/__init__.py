"""What the manifests come to, without serving them: for the command line, for CI."""
