"""What the rules call, `vpaudit stage NAME`: each stage reads files of the one before and writes its own whole."""
