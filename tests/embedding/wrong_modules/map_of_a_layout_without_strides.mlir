// says: dsl.py:4:2: an array has the layout affine_map<(d0) -> (

hpacml.functor @f : [i] = ([i])

func.func @k(%t: memref<9xf32, affine_map<(i) -> (i mod 3)>>) {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32, affine_map<(i) -> (i mod 3)>> -> !hpacml.mapping<9xf32> loc("dsl.py":4:2)
  func.return
}
