// RUN: hpacml-opt %s -p hpacml-offer-views --split-input-file | filecheck %s

// All that belongs to the inference follows where it is not on views.

func.func @stencil(%west: memref<?xf32, strided<[?], offset: ?>>, %both: memref<?x2xf32>, %centre: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = memref.alloc(%n) : memref<?x3xf32>
  hpacml.pack %west into %x at %c0 features [1] : memref<?xf32, strided<[?], offset: ?>>, memref<?x3xf32>
  hpacml.pack %both into %x at %c1 features [1] : memref<?x2xf32>, memref<?x3xf32>
  %y = memref.alloc(%n) : memref<?x1xf32>
  %done = hpacml.infer "r" model "m.pt2" ins(%x : memref<?x3xf32>) outs(%y : memref<?x1xf32>)
  scf.if %done {
    hpacml.unpack %centre from %y at %c0 features [1] : memref<?xf32>, memref<?x1xf32>
  } else {
    "test.op"() : () -> ()
  }
  memref.dealloc %x : memref<?x3xf32>
  memref.dealloc %y : memref<?x1xf32>
  func.return
}

// CHECK-LABEL: func.func @stencil
// CHECK-NEXT:    %c0 = arith.constant 0 : index
// CHECK-NEXT:    %c1 = arith.constant 1 : index
// CHECK-NEXT:    %on_views = hpacml.infer_on_views "r" model "m.pt2" tensors [memref<?x3xf32>, memref<?x1xf32>] ins(%west, %both : memref<?xf32, strided<[?], offset: ?>>, memref<?x2xf32>) outs(%centre : memref<?xf32>)
// CHECK-NEXT:    scf.if %on_views {
// CHECK-NEXT:    } else {
// CHECK-NEXT:      %x = memref.alloc(%n)
// CHECK-NEXT:      hpacml.pack %west
// CHECK-NEXT:      hpacml.pack %both
// CHECK-NEXT:      %y = memref.alloc(%n)
// CHECK-NEXT:      %done = hpacml.infer "r"
// CHECK-NEXT:      scf.if %done {
// CHECK-NEXT:        hpacml.unpack
// CHECK-NEXT:      } else {
// CHECK-NEXT:        "test.op"
// CHECK-NEXT:      }
// CHECK-NEXT:      memref.dealloc %x
// CHECK-NEXT:      memref.dealloc %y
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return

// -----

// What stands in between is to happen in any case.

func.func @between(%s: memref<?xf32>, %t: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = memref.alloc(%n) : memref<?x2xf32>
  hpacml.pack %s into %x at %c0 features [1] : memref<?xf32>, memref<?x2xf32>
  hpacml.pack %s into %x at %c1 features [1] : memref<?xf32>, memref<?x2xf32>
  "test.op"() : () -> ()
  %y = memref.alloc(%n) : memref<?x1xf32>
  %done = hpacml.infer "r" model "m.pt2" ins(%x : memref<?x2xf32>) outs(%y : memref<?x1xf32>)
  scf.if %done {
    hpacml.unpack %t from %y at %c0 features [1] : memref<?xf32>, memref<?x1xf32>
  }
  memref.dealloc %x : memref<?x2xf32>
  memref.dealloc %y : memref<?x1xf32>
  func.return
}

// CHECK-LABEL: func.func @between
// CHECK-NOT:   infer_on_views

// -----

// Measurements tell the stages apart.

func.func @measured(%s: memref<?xf32>, %t: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = memref.alloc(%n) : memref<?x2xf32>
  hpacml.pack %s into %x at %c0 features [1] : memref<?xf32>, memref<?x2xf32>
  hpacml.pack %s into %x at %c1 features [1] : memref<?xf32>, memref<?x2xf32>
  %now = hpacml_rt.now
  %y = memref.alloc(%n) : memref<?x1xf32>
  %done = hpacml.infer "r" model "m.pt2" ins(%x : memref<?x2xf32>) outs(%y : memref<?x1xf32>)
  scf.if %done {
    hpacml.unpack %t from %y at %c0 features [1] : memref<?xf32>, memref<?x1xf32>
  }
  memref.dealloc %x : memref<?x2xf32>
  memref.dealloc %y : memref<?x1xf32>
  func.return
}

// CHECK-LABEL: func.func @measured
// CHECK-NOT:   infer_on_views

// -----

// Features are packed in another order than that of the network.

func.func @order(%s: memref<?xf32>, %t: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = memref.alloc(%n) : memref<?x2xf32>
  hpacml.pack %s into %x at %c1 features [1] : memref<?xf32>, memref<?x2xf32>
  hpacml.pack %s into %x at %c0 features [1] : memref<?xf32>, memref<?x2xf32>
  %y = memref.alloc(%n) : memref<?x1xf32>
  %done = hpacml.infer "r" model "m.pt2" ins(%x : memref<?x2xf32>) outs(%y : memref<?x1xf32>)
  scf.if %done {
    hpacml.unpack %t from %y at %c0 features [1] : memref<?xf32>, memref<?x1xf32>
  }
  memref.dealloc %x : memref<?x2xf32>
  memref.dealloc %y : memref<?x1xf32>
  func.return
}

// CHECK-LABEL: func.func @order
// CHECK-NOT:   infer_on_views

// -----

// A feature is missing.

func.func @missing(%s: memref<?xf32>, %t: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = memref.alloc(%n) : memref<?x2xf32>
  hpacml.pack %s into %x at %c0 features [1] : memref<?xf32>, memref<?x2xf32>
  %y = memref.alloc(%n) : memref<?x1xf32>
  %done = hpacml.infer "r" model "m.pt2" ins(%x : memref<?x2xf32>) outs(%y : memref<?x1xf32>)
  scf.if %done {
    hpacml.unpack %t from %y at %c0 features [1] : memref<?xf32>, memref<?x1xf32>
  }
  memref.dealloc %x : memref<?x2xf32>
  memref.dealloc %y : memref<?x1xf32>
  func.return
}

// CHECK-LABEL: func.func @missing
// CHECK-NOT:   infer_on_views

// -----

// The features are in the first dimension.

func.func @first(%s: memref<?xf32>, %t: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = memref.alloc(%n) : memref<2x?xf32>
  hpacml.pack %s into %x at %c0 features [0] : memref<?xf32>, memref<2x?xf32>
  hpacml.pack %s into %x at %c1 features [0] : memref<?xf32>, memref<2x?xf32>
  %y = memref.alloc(%n) : memref<?x1xf32>
  %done = hpacml.infer "r" model "m.pt2" ins(%x : memref<2x?xf32>) outs(%y : memref<?x1xf32>)
  scf.if %done {
    hpacml.unpack %t from %y at %c0 features [1] : memref<?xf32>, memref<?x1xf32>
  }
  memref.dealloc %x : memref<2x?xf32>
  memref.dealloc %y : memref<?x1xf32>
  func.return
}

// CHECK-LABEL: func.func @first
// CHECK-NOT:   infer_on_views

// -----

// The tensor has other elements than the array.

func.func @elements(%s: memref<?xf64>, %t: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = memref.alloc(%n) : memref<?x2xf32>
  hpacml.pack %s into %x at %c0 features [1] : memref<?xf64>, memref<?x2xf32>
  hpacml.pack %s into %x at %c1 features [1] : memref<?xf64>, memref<?x2xf32>
  %y = memref.alloc(%n) : memref<?x1xf32>
  %done = hpacml.infer "r" model "m.pt2" ins(%x : memref<?x2xf32>) outs(%y : memref<?x1xf32>)
  scf.if %done {
    hpacml.unpack %t from %y at %c0 features [1] : memref<?xf32>, memref<?x1xf32>
  }
  memref.dealloc %x : memref<?x2xf32>
  memref.dealloc %y : memref<?x1xf32>
  func.return
}

// CHECK-LABEL: func.func @elements
// CHECK-NOT:   infer_on_views

// -----

// Other code uses the tensor.

func.func @used(%s: memref<?xf32>, %t: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = memref.alloc(%n) : memref<?x2xf32>
  hpacml.pack %s into %x at %c0 features [1] : memref<?xf32>, memref<?x2xf32>
  hpacml.pack %s into %x at %c1 features [1] : memref<?xf32>, memref<?x2xf32>
  "test.op"(%x) : (memref<?x2xf32>) -> ()
  %y = memref.alloc(%n) : memref<?x1xf32>
  %done = hpacml.infer "r" model "m.pt2" ins(%x : memref<?x2xf32>) outs(%y : memref<?x1xf32>)
  scf.if %done {
    hpacml.unpack %t from %y at %c0 features [1] : memref<?xf32>, memref<?x1xf32>
  }
  memref.dealloc %x : memref<?x2xf32>
  memref.dealloc %y : memref<?x1xf32>
  func.return
}

// CHECK-LABEL: func.func @used
// CHECK-NOT:   infer_on_views

// -----

// The results are written in any case.

func.func @always(%s: memref<?xf32>, %t: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = memref.alloc(%n) : memref<?x2xf32>
  hpacml.pack %s into %x at %c0 features [1] : memref<?xf32>, memref<?x2xf32>
  hpacml.pack %s into %x at %c1 features [1] : memref<?xf32>, memref<?x2xf32>
  %y = memref.alloc(%n) : memref<?x1xf32>
  %done = hpacml.infer "r" model "m.pt2" ins(%x : memref<?x2xf32>) outs(%y : memref<?x1xf32>)
  scf.if %done {
  }
  hpacml.unpack %t from %y at %c0 features [1] : memref<?xf32>, memref<?x1xf32>
  memref.dealloc %x : memref<?x2xf32>
  memref.dealloc %y : memref<?x1xf32>
  func.return
}

// CHECK-LABEL: func.func @always
// CHECK-NOT:   infer_on_views

// -----

// Something else follows where the inference is done.

func.func @another(%s: memref<?xf32>, %t: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = memref.alloc(%n) : memref<?x2xf32>
  hpacml.pack %s into %x at %c0 features [1] : memref<?xf32>, memref<?x2xf32>
  hpacml.pack %s into %x at %c1 features [1] : memref<?xf32>, memref<?x2xf32>
  %y = memref.alloc(%n) : memref<?x1xf32>
  %done = hpacml.infer "r" model "m.pt2" ins(%x : memref<?x2xf32>) outs(%y : memref<?x1xf32>)
  scf.if %done {
    hpacml.unpack %t from %y at %c0 features [1] : memref<?xf32>, memref<?x1xf32>
    "test.op"() : () -> ()
  }
  memref.dealloc %x : memref<?x2xf32>
  memref.dealloc %y : memref<?x1xf32>
  func.return
}

// CHECK-LABEL: func.func @another
// CHECK-NOT:   infer_on_views

// -----

// The network makes one point of many.

func.func @fewer(%s: memref<?x?xf32>, %t: memref<?xf32>, %n: index, %m: index) {
  %c0 = arith.constant 0 : index
  %x = memref.alloc(%n, %m) : memref<?x?x1xf32>
  hpacml.pack %s into %x at %c0 features [2] : memref<?x?xf32>, memref<?x?x1xf32>
  %y = memref.alloc(%n) : memref<?x1xf32>
  %done = hpacml.infer "r" model "m.pt2" ins(%x : memref<?x?x1xf32>) outs(%y : memref<?x1xf32>)
  scf.if %done {
    hpacml.unpack %t from %y at %c0 features [1] : memref<?xf32>, memref<?x1xf32>
  }
  memref.dealloc %x : memref<?x?x1xf32>
  memref.dealloc %y : memref<?x1xf32>
  func.return
}

// CHECK-LABEL: func.func @fewer
// CHECK-NOT:   infer_on_views

// -----

// Torch is to compute it, which takes tensors.

func.func @by_torch(%s: memref<?xf32>, %t: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = memref.alloc(%n) : memref<?x2xf32>
  hpacml.pack %s into %x at %c0 features [1] : memref<?xf32>, memref<?x2xf32>
  hpacml.pack %s into %x at %c1 features [1] : memref<?xf32>, memref<?x2xf32>
  %y = memref.alloc(%n) : memref<?x1xf32>
  %done = hpacml.infer "r" model "m.pt2" engine "torch" ins(%x : memref<?x2xf32>) outs(%y : memref<?x1xf32>)
  scf.if %done {
    hpacml.unpack %t from %y at %c0 features [1] : memref<?xf32>, memref<?x1xf32>
  }
  memref.dealloc %x : memref<?x2xf32>
  memref.dealloc %y : memref<?x1xf32>
  func.return
}

// CHECK-LABEL: func.func @by_torch
// CHECK-NOT:   infer_on_views

// -----

// What adds to its views cannot be written by compiled code of a network.

func.func @adds(%both: memref<?x2xf32>, %centre: memref<?x1xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %x = memref.alloc(%n) : memref<?x2xf32>
  %y = memref.alloc(%n) : memref<?x1xf32>
  hpacml.pack %both into %x at %c0 features [1] : memref<?x2xf32>, memref<?x2xf32>
  %done = hpacml.infer "r" model "m.pt2" ins(%x : memref<?x2xf32>) outs(%y : memref<?x1xf32>)
  scf.if %done {
    hpacml.unpack add %centre from %y at %c0 features [1] : memref<?x1xf32>, memref<?x1xf32>
  }
  memref.dealloc %x : memref<?x2xf32>
  memref.dealloc %y : memref<?x1xf32>
  func.return
}

// CHECK-LABEL: func.func @adds
// CHECK-NOT:     hpacml.infer_on_views
// CHECK:         hpacml.unpack add %centre
// CHECK-NOT:     hpacml.infer_on_views
