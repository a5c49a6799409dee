import nothing_of_this_name  # type: ignore[import-not-found]

print(nothing_of_this_name)
