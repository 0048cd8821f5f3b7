// passes: hpacml-resolve-slices
// says: dsl.py:6:3: func.return takes a mapping

hpacml.functor @f : [i] = ([i])

func.func @k(%t: memref<9xf32>) -> !hpacml.mapping<9xf32> {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  func.return %a : !hpacml.mapping<9xf32> loc("dsl.py":6:3)
}
