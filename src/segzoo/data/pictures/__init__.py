"""Picture files: their formats, headers and depth, and their pixels, safely decoded."""
