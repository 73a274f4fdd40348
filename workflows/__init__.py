"""The shipped workflows: UI graphs for the template browser here, API graphs and their public fields in ``api/``."""

from .bindings import Bindings, available_bindings, first_last_workflows
from .fields import Field, FieldError

__all__ = ["Bindings", "Field", "FieldError", "available_bindings", "first_last_workflows"]
