"""The C structs of native/*.h by name, for Cython, a file for each header; declarations only."""
