"""Model adapters, one file each: what is special about loading and feeding a family of models.

A file `NAME.py` here exports `ADAPTER`; `model.name: NAME` selects it. Third parties add one through the entry
point group `llmperf.adapters`. Importing an adapter must not import torch: the parent asks it what it reads.
"""
