"""A/B: two configurations, launched in turn in one block until it is clear which is faster."""
