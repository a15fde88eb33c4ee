"""Thin `evaluate` modules, one a folder, each of which `evaluate.load(path)` loads from its path without the Hub.

A module declares its inputs and names its key; the formula is `mixtext_hf.evaluation.measures.metrics`'s.
"""
