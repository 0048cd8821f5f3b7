// passes: hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops
// says: dsl.py:5:3: func.return takes the tensor out of its block

hpacml.functor @f : [i] = ([i])

func.func @k(%t: memref<9xf32>) -> memref<9xf32> {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  %x = hpacml.tensor fresh %a : !hpacml.mapping<9xf32> -> memref<9xf32> loc("dsl.py":5:3)
  hpacml.gather %a into %x : !hpacml.mapping<9xf32>, memref<9xf32>
  func.return %x : memref<9xf32> loc("dsl.py":6:3)
}
