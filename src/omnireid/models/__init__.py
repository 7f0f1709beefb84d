"""The networks by name, in torch: images in, embeddings out."""
