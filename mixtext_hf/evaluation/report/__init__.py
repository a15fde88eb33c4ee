"""The report of an evaluation: one HTML page, its sentences and its pictures."""
