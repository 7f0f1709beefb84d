"""From weights to portable graphs that are held against torch before they are written."""
