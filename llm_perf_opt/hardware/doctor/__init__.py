"""What is installed and allowed on this machine: small checks, each with a remedy."""
