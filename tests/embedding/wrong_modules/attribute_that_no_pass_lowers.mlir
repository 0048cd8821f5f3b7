// passes: hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime
// says: dsl.py:5:3: nothing lowers the attribute hpacml.note any more

func.func @k(%x: memref<9xf32>) {
  "test.op"(%x) {hpacml.note} : (memref<9xf32>) -> () loc("dsl.py":5:3)
  func.return
}
