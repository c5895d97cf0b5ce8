"""What the rules call: each stage reads files of the one before and writes its own whole."""
