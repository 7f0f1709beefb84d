"""From a file, bytes, a PIL image or an array to RGB uint8 to the network's input: the only pixel path."""
