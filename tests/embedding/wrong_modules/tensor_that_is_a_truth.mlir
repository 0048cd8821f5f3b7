// says: dsl.py:6:3: a truth is memory that the original code writes, and tensors are never written

hpacml.functor @f : [i] = ([i])

func.func @k(%t: tensor<9xf32>, %u: memref<9xf32>) {
  %a = hpacml.map to @f(%t[0 : 9]) : tensor<9xf32> -> !hpacml.mapping<9xf32>
  %b = hpacml.map from @f(%u[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml collect in(%a : !hpacml.mapping<9xf32>) out(%b : !hpacml.mapping<9xf32>) truth(%a : !hpacml.mapping<9xf32>) label "r" {
    "test.op"() : () -> ()
  } loc("dsl.py":6:3)
  func.return
}
