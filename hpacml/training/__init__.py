"""Training: from a database to a model that a region uses. It needs the extra `train`, and nothing else loads it."""

from importlib.util import find_spec

from hpacml.errors import MissingExtra

PACKAGES = ("pytorch_lightning", "torchmetrics", "pydantic", "yaml", "matplotlib")

if missing := [name for name in PACKAGES if find_spec(name) is None]:
    raise MissingExtra(f"training needs {', '.join(missing)}: pip install 'hpacml[train]'")
