// passes: hpacml-hoist-exchanges,hpacml-expand-ml
// says: dsl.py:8:5: mpi.send is in the region 'r', and a model in its place would skip what other processes wait for

hpacml.functor @f : [i] = ([i])

func.func @k(%t: memref<9xf32>, %p: !llvm.ptr, %i: index, %n: i32, %type: !mpi.datatype) {
  %a = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml infer inout(%a : !hpacml.mapping<9xf32>) label "r" {
    %v = memref.load %t[%i] : memref<9xf32>
    memref.store %v, %t[%i] : memref<9xf32>
    "mpi.send"(%p, %n, %type, %n, %n) : (!llvm.ptr, i32, !mpi.datatype, i32, i32) -> () loc("dsl.py":8:5)
    memref.store %v, %t[%i] : memref<9xf32>
  }
  func.return
}
