"""For those who maintain an installation or a plugin: doctor, matrix, scaffold."""
