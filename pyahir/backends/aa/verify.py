from __future__ import annotations
from pyahir.backends.aa.traverse import scoped
from pyahir.backends.aa import ast as aa
def check_types(scopes, typing):
    pass
