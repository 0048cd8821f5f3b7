from hpacml.frontend.definition import Definition
from hpacml.frontend.compiler import compile_kernel
class Kernel(Definition):
    pass
def kernel(f): return Kernel(f)
