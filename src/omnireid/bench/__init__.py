"""What every way to run weights costs here: speed, latency, memory, start-up, error and, with data, scores."""
