// RUN: hpacml-opt %s -p hpacml-call-networks --split-input-file --verify-diagnostics | filecheck %s

// Views: rows of neighbours have code of their own, others have code of any strides; what is written is read nowhere.

func.func @views(%a: memref<?xf32, strided<[?], offset: ?>>, %b: memref<?xf32, strided<[?], offset: ?>>) {
  %done = hpacml.infer_on_views "r" model "m.pt2" tensors [memref<?x1xf32>, memref<?x1xf32>]
    ins(%a : memref<?xf32, strided<[?], offset: ?>>) outs(%b : memref<?xf32, strided<[?], offset: ?>>)
  "test.op"(%done) : (i1) -> ()
  func.return
}

// CHECK:       func.func private @hpacml_network_[[any:[0-9a-f]+]](memref<?xf32, strided<[?], offset: ?>>, memref<?xf32, strided<[?], offset: ?>>) -> () attributes {network.sweep = 1 : i64, network.inputs = 1 : i64}
// CHECK:       func.func private @hpacml_network_[[row:[0-9a-f]+]](memref<?xf32, strided<[1], offset: ?>>, memref<?xf32, strided<[1], offset: ?>>) -> () attributes {network.sweep = 1 : i64, network.inputs = 1 : i64}
// CHECK-LABEL: func.func @views
// CHECK-DAG:     "memref.extract_aligned_pointer_as_index"(%a)
// CHECK-DAG:     "memref.extract_aligned_pointer_as_index"(%b)
// CHECK:         %done = scf.if %{{.*}} -> (i1) {
// CHECK:           scf.if %{{.*}} {
// CHECK:             func.call @hpacml_network_[[row]](
// CHECK:           } else {
// CHECK:             func.call @hpacml_network_[[any]](
// CHECK:           }
// CHECK:           arith.constant true
// CHECK:         } else {
// CHECK:           arith.constant false
// CHECK:         }
// CHECK:         "test.op"(%done) : (i1) -> ()

// -----

// Tensors have their points in one dimension. Their numbers of points must be equal, and so are those of static sizes.

func.func @tensors(%x: memref<?x8x2xf32>, %y: memref<?x8xf32>) {
  %done = hpacml.infer "r" model "m.pt2" ins(%x : memref<?x8x2xf32>) outs(%y : memref<?x8xf32>)
  "test.op"(%done) : (i1) -> ()
  func.return
}

// CHECK:       func.func private @hpacml_network_[[name:[0-9a-f]+]](memref<?x2xf32, strided<[2, 1], offset: ?>>, memref<?x1xf32, strided<[1, 1], offset: ?>>) -> ()
// CHECK-LABEL: func.func @tensors
// CHECK:         scf.if %{{.*}} {
// CHECK-NEXT:    } else {
// CHECK-NEXT:      hpacml_rt.refuse "the model does not fit the region 'r': its inputs and its outputs have not as many points"
// CHECK-NEXT:    }
// CHECK:         scf.if %{{.*}} {
// CHECK-NEXT:      func.call @hpacml_network_[[name]](
// CHECK-NEXT:    } else {
// CHECK-NEXT:      %[[made:[0-9]+]] = memref.alloc(%{{.*}}) : memref<?x1xf32>
// CHECK:           func.call @hpacml_network_[[name]](
// CHECK-NEXT:      "memref.copy"(
// CHECK-NEXT:      memref.dealloc %[[made]]
// CHECK-NEXT:    }
// CHECK-NEXT:    %done = arith.constant true
// CHECK-NEXT:    "test.op"(%done) : (i1) -> ()

// -----

func.func @several(%x: memref<?x2xf32>, %y: memref<?x1xf32>) {
  %done = hpacml.infer "r" model "m.pt2" ins(%x, %x : memref<?x2xf32>, memref<?x2xf32>) outs(%y : memref<?x1xf32>)
  func.return
}

// CHECK: the region 'r' has several inputs or outputs, of which no network is compiled

// -----

func.func @unknown(%x: memref<?x?xf32>, %y: memref<?x1xf32>) {
  %done = hpacml.infer "r" model "m.pt2" ins(%x : memref<?x?xf32>) outs(%y : memref<?x1xf32>)
  func.return
}

// CHECK: the region 'r' gives no points of a known number of features to a network
