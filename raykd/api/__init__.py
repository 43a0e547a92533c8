"""Python API: the functions and classes that :mod:`raykd` itself exports. Heavy libraries load when a function is called."""
