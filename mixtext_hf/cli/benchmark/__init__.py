"""`mixtext-hf benchmark`: time and memory of each method against a plain step, of whole steps, of guesses and of images."""
