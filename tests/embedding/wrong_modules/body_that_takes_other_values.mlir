// says: dsl.py:5:3: @step has the type (memref<9xf32>) -> (), and is called as (memref<8xf32>) -> ()

func.func private @step(memref<9xf32>)
func.func @k(%t: memref<8xf32>) {
  %ms = hpacml.body "r" @step(%t : memref<8xf32>) loc("dsl.py":5:3)
  func.return
}
