"""File formats of data sets and of other systems: read, and written where that is of use.

No torch here, and nothing is downloaded.
"""
