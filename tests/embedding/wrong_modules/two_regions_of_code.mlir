// says: dsl.py:7:3: a region of the program has one region of code, and a second that is empty

hpacml.functor @f : [i] = ([i])

func.func @k(%t: memref<9xf32>) {
  %a = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  "hpacml.ml"(%a) <{mode = #hpacml<mode infer>, label = "r", operandSegmentSizes = array<i32: 0, 0, 0, 0, 1, 0, 0, 0, 0>}> ({
    "test.op"() : () -> ()
  }, {
    "test.op"() : () -> ()
  }) : (!hpacml.mapping<9xf32>) -> () loc("dsl.py":7:3)
  func.return
}
