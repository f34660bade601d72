"""SHARED: values, errors, names and what every room asks of the operating system. Imports no other room."""
