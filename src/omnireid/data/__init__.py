"""From a folder to samples and splits."""
