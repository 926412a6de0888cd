"""The API's objects as frozen values.

In: decoded YAML or JSON. Out: models of one version, v1; older versions become v1 in :mod:`routes.resources.scheme`.
Not here: which objects belong together (:mod:`routes.graph`).
"""
