"""Families of rules: a file here that exports `RULES` is found by being here."""
