"""From embeddings to ranked matches."""
