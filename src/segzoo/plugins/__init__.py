"""What a plugin is and how it gets in: specs, options, hooks, the manager and the registry.

Light: loads no torch and no numpy.
"""
