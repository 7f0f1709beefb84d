"""A gallery that lasts: sightings of people in a database, with their model, their history and their erasure."""
