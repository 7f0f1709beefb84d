"""From crops to embeddings: the embedder, its runtimes, the weights artefact and stored tables."""
