// says: dsl.py:7:3: 'idx' holds the indices of one output and is itself another

hpacml.functor @f : [i] = ([i])

func.func @k(%t: memref<9xf32>, %u: memref<9xf32>, %idx: memref<3xi32>) {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  %b = hpacml.map from @f(%u[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  %c = hpacml.map from @f(%u[*%idx[0 : 3]]) : memref<9xf32>, memref<3xi32> -> !hpacml.mapping<3xf32>
  %d = hpacml.map from @f(%idx[0 : 3]) : memref<3xi32> -> !hpacml.mapping<3xi32>
  hpacml.ml infer in(%a : !hpacml.mapping<9xf32>) out(%c, %d : !hpacml.mapping<3xf32>, !hpacml.mapping<3xi32>) label "r" {
    "test.op"() : () -> ()
  } loc("dsl.py":7:3)
  func.return
}
