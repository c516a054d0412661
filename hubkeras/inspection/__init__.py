"""What a module holds, read from its files: for programs, for the terminal, and as a page."""
