"""Search for temperature, alpha and loss weights with Ray Tune.

``raykd.tune(job)`` calls :func:`raykd.api.search.tune`, which runs a search.
"""

from raykd.callable_package import make_callable

make_callable(__name__)
