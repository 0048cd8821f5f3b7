"""The nested search over architectures and hyper-parameters: `hpacml.search`. It needs the extra `search`."""

from importlib.util import find_spec

from hpacml.errors import MissingExtra

if missing := [name for name in ("ax", "parsl", "pydantic", "yaml") if find_spec(name) is None]:
    raise MissingExtra(f"searches need {', '.join(missing)}: pip install 'hpacml[search]'")
