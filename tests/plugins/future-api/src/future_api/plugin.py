raise SystemError("future-api was imported")
