"""What is in a label column: names of classes and how they match those of a model, several labels a row, scores, wrong labels."""
