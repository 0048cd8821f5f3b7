// says: dsl.py:5:3: the outputs write tensors of the types (tensor<9xf32>), and the region gives (): one for each tensor

hpacml.functor @f : [i] = ([i])

func.func @k(%t: tensor<9xf32>, %i: index) {
  %a = hpacml.map inout @f(%t[0 : 9]) : tensor<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml collect inout(%a : !hpacml.mapping<9xf32>) label "r" {
    "test.op"() : () -> ()
  } loc("dsl.py":5:3)
  func.return
}
