// passes: hpacml-refuse-host-accesses
// says: dsl.py:5:3: 'k' uses the array 't' on the host, but is for a GPU

func.func @k(%t: memref<9xf32>, %i: index) -> f32 {
  %x = memref.load %t[%i] : memref<9xf32> loc("dsl.py":5:3)
  func.return %x : f32
}
