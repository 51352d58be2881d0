"""MANY images, pure: who stands in which split, and who resembles whom."""
