"""Images: folders of them, checks of the files, one form for all, augmentations, batches."""
