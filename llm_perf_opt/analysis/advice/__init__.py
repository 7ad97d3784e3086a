"""What would help: rules that look at the records of a run. One file of `rules/` is one family of rules."""
