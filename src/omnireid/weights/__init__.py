"""What a file of weights is: artefacts, graphs, where they come from."""
