"""Doubles of the vendors: real HTTP servers that follow the documented protocols and can be told to fail anywhere."""
