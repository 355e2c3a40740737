"""The C structs of native/*.h by name, for Cython; declarations only."""
