// RUN: hpacml-opt %s -p hpacml-refuse-host-accesses --split-input-file --verify-diagnostics | filecheck %s

// What reads or writes in a kernel, or in a function that only kernels call, is as it should be.

func.func private @element(%a: memref<?xf32>, %i: index) -> f32 {
  %v = memref.load %a[%i] : memref<?xf32>
  func.return %v : f32
}

func.func @kernels(%a: memref<?xf32>, %n: index) {
  hpacml.body "loops" @loops(%a, %n : memref<?xf32>, index)
  func.return
}

func.func private @loops(%a: memref<?xf32>, %n: index) {
  %c1 = arith.constant 1 : index
  "gpu.launch"(%n, %c1, %c1, %c1, %c1, %c1) <{operandSegmentSizes = array<i32: 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0>}> ({
  ^bb0(%block: index, %by: index, %bz: index, %thread: index, %ty: index, %tz: index, %gx: index, %gy: index, %gz: index, %sx: index, %sy: index, %sz: index):
    %v = func.call @element(%a, %block) : (memref<?xf32>, index) -> f32
    memref.store %v, %a[%thread] : memref<?xf32>
    "gpu.terminator"() : () -> ()
  }) : (index, index, index, index, index, index) -> ()
  func.return
}

// CHECK-LABEL: func.func private @loops
// CHECK:         gpu.launch
// CHECK-NOT:     hpacml_rt.refuse

// -----

// Original code that the host would run is not there any more, wherever it uses an array.

func.func private @first(%a: memref<?xf32>) {
  %c0 = arith.constant 0 : index
  %v = memref.load %a[%c0] : memref<?xf32>
  func.return
}

func.func @bodies(%t: memref<?xf32>, %x: f32, %n: index) {
  hpacml.body "heat" @heat(%t, %x, %n : memref<?xf32>, f32, index)
  hpacml.body "heat" @heat(%t, %x, %n : memref<?xf32>, f32, index)
  hpacml.body "called" @called(%t : memref<?xf32>)
  func.return
}

func.func private @heat(%t: memref<?xf32>, %x: f32, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %n step %c1 {
    memref.store %x, %t[%i] : memref<?xf32>
  }
  func.return
}

func.func private @called(%t: memref<?xf32>) {
  func.call @first(%t) : (memref<?xf32>) -> ()
  func.return
}

// CHECK-LABEL: func.func private @heat
// CHECK-NEXT:    hpacml_rt.refuse "the original code of the region 'heat' uses the array 't' on the host, but it is for a GPU: write loops with hpacml.prange whose results are in arrays, or whole arrays as in a[1:] = 2 * b[:-1], which become kernels"
// CHECK-NEXT:    func.return
// CHECK-LABEL: func.func private @called
// CHECK-NEXT:    hpacml_rt.refuse "the original code of the region 'called' uses the array 'a' on the host

// -----

// The host may read constants, which are in its own memory.

"memref.global"() <{sym_name = "table", type = memref<3xf32>, initial_value = dense<1.0> : tensor<3xf32>, sym_visibility = "private", constant}> : () -> ()

func.func @first() -> f32 {
  %c0 = arith.constant 0 : index
  %table = memref.get_global @table : memref<3xf32>
  %cast = "memref.cast"(%table) : (memref<3xf32>) -> memref<?xf32>
  %v = memref.load %cast[%c0] : memref<?xf32>
  func.return %v : f32
}

// CHECK-LABEL: func.func @first
// CHECK:         memref.load %cast

// -----

// CHECK: 'sum' uses the array 'a' on the host, but is for a GPU: write loops with hpacml.prange whose

func.func @sum(%a: memref<?xf32>) -> f32 {
  %c0 = arith.constant 0 : index
  %v = memref.load %a[%c0] : memref<?xf32>
  func.return %v : f32
}
