// says: dsl.py:7:3: 'a/b' cannot be a region's label

hpacml.functor @f : [i] = ([i])

func.func @k(%t: memref<9xf32>, %u: memref<9xf32>) {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  %b = hpacml.map from @f(%u[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml collect in(%a : !hpacml.mapping<9xf32>) out(%b : !hpacml.mapping<9xf32>) label "a/b" {
    "test.op"() : () -> ()
  } loc("dsl.py":7:3)
  func.return
}
