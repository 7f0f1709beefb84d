"""From crops to reasons: active places, parts of a similarity, and what the gates weigh."""
