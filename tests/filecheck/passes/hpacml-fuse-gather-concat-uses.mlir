// A tensor with other uses keeps its type, which a view of the application's memory does not have.

// RUN: hpacml-opt %s -p hpacml-fuse-gather-concat | filecheck %s

func.func private @model(memref<8x3xf32>)

func.func @call(%t: memref<8x3xf32, strided<[3, 1], offset: 6>>) {
  %c0 = arith.constant 0 : index
  %x = memref.alloc() {hpacml.may_alias} : memref<8x3xf32>
  hpacml.pack %t into %x at %c0 features [1] : memref<8x3xf32, strided<[3, 1], offset: 6>>, memref<8x3xf32>
  func.call @model(%x) : (memref<8x3xf32>) -> ()
  memref.dealloc %x : memref<8x3xf32>
  func.return
}

// CHECK:      %x = memref.alloc()
// CHECK-NEXT: hpacml.fused_gather %t into %x at %c0
// CHECK-NEXT: func.call @model(%x) : (memref<8x3xf32>) -> ()
// CHECK-NEXT: memref.dealloc %x

// A tensor that is written back if the model has run may be the memory: a model that has not leaves it as it is.

func.func @inferred(%t: memref<8x3xf32, strided<[3, 1], offset: 6>>) {
  %c0 = arith.constant 0 : index
  %y = memref.alloc() {hpacml.may_alias} : memref<8x3xf32>
  %done = hpacml.infer "r" ins(%t : memref<8x3xf32, strided<[3, 1], offset: 6>>) outs(%y : memref<8x3xf32>)
  scf.if %done {
    hpacml.unpack %t from %y at %c0 features [1] : memref<8x3xf32, strided<[3, 1], offset: 6>>, memref<8x3xf32>
  } else {
    "test.op"() : () -> ()
  }
  memref.dealloc %y : memref<8x3xf32>
  func.return
}

// CHECK-LABEL: func.func @inferred
// CHECK:         [[Y:%.*]] = memref.reinterpret_cast %t to offset: [6], sizes: [8, 3]
// CHECK:         %done = hpacml.infer "r" ins(%t {{.*}}) outs([[Y]] :
// CHECK-NEXT:    scf.if %done {
// CHECK-NEXT:    } else {

// Under any other condition, what is written to the tensor need not get into the memory.

func.func @sometimes(%t: memref<8x3xf32, strided<[3, 1], offset: 6>>, %c: i1) {
  %c0 = arith.constant 0 : index
  %y = memref.alloc() {hpacml.may_alias} : memref<8x3xf32>
  %done = hpacml.infer "r" ins(%t : memref<8x3xf32, strided<[3, 1], offset: 6>>) outs(%y : memref<8x3xf32>)
  scf.if %c {
    hpacml.unpack %t from %y at %c0 features [1] : memref<8x3xf32, strided<[3, 1], offset: 6>>, memref<8x3xf32>
  }
  memref.dealloc %y : memref<8x3xf32>
  func.return
}

// CHECK-LABEL: func.func @sometimes
// CHECK:         %y = memref.alloc()
// CHECK:         scf.if %c {
// CHECK-NEXT:      hpacml.fused_scatter %t from %y
