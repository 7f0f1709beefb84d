"""From a file, bytes, a PIL image or an array to RGB uint8 to the network's input. There is no other pixel path."""
