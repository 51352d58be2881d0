"""Exact figures of anomaly detection, from score maps and masks, in one pass."""
