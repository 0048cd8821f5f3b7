// passes: hpacml-resolve-slices
// says: dsl.py:4:3: f(t[0 : 9]) is a map of a tensor: hpacml-bufferize comes before this pass

hpacml.functor @f : [i] = ([i])

func.func @k(%t: tensor<9xf32>, %x: memref<9xf32>) {
  %a = hpacml.map to @f(%t[0 : 9]) : tensor<9xf32> -> !hpacml.mapping<9xf32> loc("dsl.py":4:3)
  hpacml.gather %a into %x : !hpacml.mapping<9xf32>, memref<9xf32>
  func.return
}
