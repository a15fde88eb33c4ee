"""Texts: data sets ready to train on, batches, labelled beside unlabelled ones, other wordings."""
