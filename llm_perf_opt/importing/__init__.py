"""Makes a run directory of files that were captured elsewhere: copied in, read like a stage's own, reported as usual.

Nothing is known of how they were captured, and nothing is made up: such a run has no configuration, no environment and
no inputs.
"""
