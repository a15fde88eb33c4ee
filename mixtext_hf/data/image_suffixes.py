"""Which files are images, told by their suffixes."""

READ = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".avif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".jp2", ".j2k"),
)
"""Suffixes of the image files that are read, in lower case."""
NOT_READ = (".svg", ".svgz", ".heic", ".heif", ".jxl", ".psd", ".eps", ".dcm", ".dng", ".cr2", ".cr3", ".nef", ".arw")
"""Suffixes of images to a person that are not read: they are rows, and named when the files are looked at."""


def is_image(suffix: str) -> bool:
    """Whether a file of this suffix is an image to a person."""
    return suffix.lower() in (*READ, *NOT_READ)
