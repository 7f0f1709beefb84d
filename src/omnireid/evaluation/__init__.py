"""From rankings to numbers one can trust."""
