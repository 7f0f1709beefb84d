"""The networks, in torch: tensor in, embedding out."""
