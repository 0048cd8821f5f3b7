// RUN: hpacml-opt %s -p convert-hpacml-to-gpu --split-input-file | filecheck %s

// Kernels have constant arrays of their own, also those that are named, and of which views are made, before the loop.

"memref.global"() <{sym_name = "table", type = memref<3xf64>, initial_value = dense<[1.0, 2.0, 3.0]> : tensor<3xf64>, sym_visibility = "private", constant}> : () -> ()

func.func @weighted(%a: memref<?xf64>, %n: index) -> f64 {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %before = memref.get_global @table : memref<3xf64>
  %tail = memref.subview %before[%c1] [2] [1] : memref<3xf64> to memref<2xf64, strided<[1], offset: ?>>
  "scf.parallel"(%c0, %n, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %v = memref.load %tail[%c0] : memref<2xf64, strided<[1], offset: ?>>
    %inside = memref.get_global @table : memref<3xf64>
    %w = memref.load %inside[%c1] : memref<3xf64>
    %x = arith.addf %v, %w : f64
    memref.store %x, %a[%i] : memref<?xf64>
    scf.reduce
  }) : (index, index, index) -> ()
  %first = memref.load %before[%c0] : memref<3xf64>
  func.return %first : f64
}

// CHECK:         sym_name = "table",
// CHECK-NEXT:    sym_name = "table_on_gpu", type = memref<3xf64>, initial_value = dense<[1.000000e+00, 2.000000e+00, 3.000000e+00]>
// CHECK-LABEL: func.func @weighted
// CHECK:         %before = memref.get_global @table :
// CHECK:         "gpu.launch"
// CHECK:           [[TABLE:%before_\d+]] = memref.get_global @table_on_gpu
// CHECK-NEXT:      [[TAIL:%tail_\d+]] = memref.subview [[TABLE]][%c1] [2] [1]
// CHECK-NEXT:      memref.load [[TAIL]][%c0]
// CHECK-NEXT:      [[INSIDE:%\w+]] = memref.get_global @table_on_gpu
// CHECK-NEXT:      memref.load [[INSIDE]][%c1]
// CHECK:           "gpu.terminator"
// CHECK:         memref.load %before[%c0]

// -----

// What else the host does with a constant array, it does with a copy in the memory of the GPU.

"memref.global"() <{sym_name = "table", type = memref<3xf64>, initial_value = dense<[1.0, 2.0, 3.0]> : tensor<3xf64>, sym_visibility = "private", constant}> : () -> ()

func.func private @callee(memref<?xf64>)

func.func @calls(%n: index) {
  %c1 = arith.constant 1 : index
  scf.for %i = %c1 to %n step %c1 {
    %table = memref.get_global @table : memref<3xf64>
    %cast = "memref.cast"(%table) : (memref<3xf64>) -> memref<?xf64>
    func.call @callee(%cast) : (memref<?xf64>) -> ()
    func.call @callee(%cast) : (memref<?xf64>) -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @calls
// CHECK:         [[COPY:%\d+]] = memref.alloc() : memref<3xf64>
// CHECK:         "gpu.launch"
// CHECK:           memref.get_global @table_on_gpu
// CHECK:           memref.load
// CHECK-NEXT:      memref.store {{.*}}, [[COPY]]
// CHECK:         scf.for
// CHECK-NOT:       memref.alloc
// CHECK:           [[CAST:%cast_\d+]] = "memref.cast"([[COPY]])
// CHECK-NEXT:      func.call @callee([[CAST]])
