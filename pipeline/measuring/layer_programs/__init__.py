"""Files of copies of one operation, a module for each runtime: written without a converter, which takes seconds."""
