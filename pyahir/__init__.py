"""pyahir."""
