"""Numbers about predictions: metrics and their `evaluate` modules, calibration, temperature, bootstrap, mistakes. Arrays in, numbers out."""
