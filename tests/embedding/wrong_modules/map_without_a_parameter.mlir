// says: dsl.py:4:2: the functor has 1 parameter, 0 are given

hpacml.functor @f(m) : [i] = ([m * i])
func.func @k(%t: memref<9xf32>) {
  %a = hpacml.map to @f(%t[0 : 3]) : memref<9xf32> -> !hpacml.mapping<3xf32> loc("dsl.py":4:2)
  func.return
}
