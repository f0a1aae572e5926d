"""A folder for the module search path: there, ``wsproto`` is this package."""
