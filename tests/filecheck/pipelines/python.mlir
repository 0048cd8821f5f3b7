// hpacml-opt reads Python, and says what is wrong with a file that has nothing to compile.

// RUN: hpacml-opt %S/../../../docs/smooth.py | hpacml-opt | filecheck %s
// RUN: not hpacml-opt %S/../../../docs/generate.py 2>&1 | filecheck %s --check-prefix NONE

// CHECK: hpacml.functor @sides : [i, 0:2] = ([i - 1], [i + 1])
// CHECK: func.func @smooth
// CHECK: hpacml.ml predicated(%use_model)

// NONE:  defines no kernels: put @hpacml.kernel above
