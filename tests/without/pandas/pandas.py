"""Stands before the real package on the path of a process that is not to spend its time on importing it."""

raise ModuleNotFoundError("pandas is kept out of this process", name=__name__)
