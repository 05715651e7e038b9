"""A module that cannot be imported, as after a bad deploy."""

raise KeyError("A_VARIABLE_NOBODY_SET")
