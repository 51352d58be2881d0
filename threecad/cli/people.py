"""The commands about people who draw: agree."""
