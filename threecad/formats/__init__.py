"""The only floor that knows files."""
