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
