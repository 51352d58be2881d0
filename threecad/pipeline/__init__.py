"""The journey from raw to data set, and its settings."""
