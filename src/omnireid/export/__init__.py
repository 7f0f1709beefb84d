"""From weights to portable graphs, which are compared with torch before they are written."""
