"""ONE image, pure: arrays and geometries in, arrays and geometries out."""
