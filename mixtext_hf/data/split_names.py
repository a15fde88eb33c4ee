"""What people call the splits of a data set: folders of images, files of tables, and splits on the Hub."""

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "testing", "eval", "evaluation"),
}
KIND_OF_NAME = {name: kind for kind, names in SPLIT_NAMES.items() for name in names}
