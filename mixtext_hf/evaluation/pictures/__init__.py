"""Pictures: of calibration and training, and of what each method makes of two images and two texts."""
