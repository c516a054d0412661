"""Old interfaces over hubkeras, for programs that move to it step by step."""
