// RUN: hpacml-opt %s -p convert-hpacml-to-gpu --split-input-file | filecheck %s

// Whether arrays share memory is asked before the loop. Where they do not, nothing stands between the loops.

func.func private @hpacml_refuse_sizes(!llvm.ptr, index, index)
func.func private @hpacml_meet_1xf64_1xf64(memref<?xf64, strided<[?], offset: ?>>, memref<?xf64, strided<[?], offset: ?>>) -> i1

func.func @rows(%a: memref<?x?xf64, strided<[?, ?], offset: ?>>, %b: memref<?x?xf64, strided<[?, ?], offset: ?>>, %p: !llvm.ptr) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = memref.dim %a, %c0 : memref<?x?xf64, strided<[?, ?], offset: ?>>
  "scf.parallel"(%c0, %n, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %m = memref.dim %a, %c1 : memref<?x?xf64, strided<[?, ?], offset: ?>>
    %x = memref.subview %a[%i, 0] [1, %m] [1, 1] : memref<?x?xf64, strided<[?, ?], offset: ?>> to memref<?xf64, strided<[?], offset: ?>>
    %k = memref.dim %b, %c1 : memref<?x?xf64, strided<[?, ?], offset: ?>>
    %y = memref.subview %b[%i, 0] [1, %k] [1, 1] : memref<?x?xf64, strided<[?, ?], offset: ?>> to memref<?xf64, strided<[?], offset: ?>>
    %differ = arith.cmpi ne, %m, %k : index
    scf.if %differ {
      func.call @hpacml_refuse_sizes(%p, %m, %k) : (!llvm.ptr, index, index) -> ()
    }
    %meet = func.call @hpacml_meet_1xf64_1xf64(%x, %y) : (memref<?xf64, strided<[?], offset: ?>>, memref<?xf64, strided<[?], offset: ?>>) -> i1
    %to = scf.if %meet -> (memref<?xf64, strided<[?], offset: ?>>) {
      %other = memref.alloc(%m) : memref<?xf64>
      %cast = "memref.cast"(%other) : (memref<?xf64>) -> memref<?xf64, strided<[?], offset: ?>>
      scf.yield %cast : memref<?xf64, strided<[?], offset: ?>>
    } else {
      scf.yield %x : memref<?xf64, strided<[?], offset: ?>>
    }
    "scf.parallel"(%c0, %m, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
    ^bb1(%j: index):
      %v = memref.load %y[%j] : memref<?xf64, strided<[?], offset: ?>>
      memref.store %v, %to[%j] : memref<?xf64, strided<[?], offset: ?>>
      scf.reduce
    }) : (index, index, index) -> ()
    scf.if %meet {
      "scf.parallel"(%c0, %m, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
      ^bb2(%j: index):
        %v = memref.load %to[%j] : memref<?xf64, strided<[?], offset: ?>>
        memref.store %v, %x[%j] : memref<?xf64, strided<[?], offset: ?>>
        scf.reduce
      }) : (index, index, index) -> ()
      memref.dealloc %to : memref<?xf64, strided<[?], offset: ?>>
    }
    scf.reduce
  }) : (index, index, index) -> ()
  func.return
}

// CHECK-LABEL: func.func @rows
// CHECK-NOT:     @hpacml_meet
// CHECK:         "memref.extract_aligned_pointer_as_index"(%a)
// CHECK:         "memref.extract_aligned_pointer_as_index"(%b)
// CHECK:         [[SHARED:%\d+]] = arith.andi
// CHECK-NEXT:    scf.if [[SHARED]] {
// CHECK:           memref.alloc
// CHECK:           "gpu.launch"
// CHECK-COUNT-2:     scf.for {{.*}} = %c0 to
// CHECK:           module = @rows_loop_0
// CHECK:           memref.dealloc
// CHECK:         } else {
// CHECK:           scf.if
// CHECK-NEXT:        scf.if
// CHECK-NEXT:          func.call @hpacml_refuse_sizes
// CHECK-NOT:       memref.alloc
// CHECK:           "gpu.launch"
// CHECK:             [[J:%j_\d+]] = arith.remui
// CHECK-NEXT:        [[I:%i_\d+]] = arith.divui
// CHECK:             [[X:%x_\d+]] = memref.subview %a[[[I]]
// CHECK:             [[Y:%y_\d+]] = memref.subview %b[[[I]]
// CHECK:             memref.load [[Y]][[[J]]]
// CHECK-NEXT:        memref.store {{.*}}, [[X]][[[J]]]
// CHECK:           module = @rows_loop_1

// -----

// No question is open: views of one array may share memory, an array of the iteration shares none with others. Where the other
// memory would have a size that is not known before the loop, arrays that share memory are an error of the call.

func.func private @hpacml_meet_1xf64_1xf64(memref<?xf64>, memref<?xf64>) -> i1

func.func @known(%a: memref<?xf64>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  "scf.parallel"(%c0, %n, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %local = memref.alloc(%n) : memref<?xf64>
    %one = arith.constant 1.0 : f64
    %two = arith.constant 2.0 : f64
    %same = func.call @hpacml_meet_1xf64_1xf64(%a, %a) : (memref<?xf64>, memref<?xf64>) -> i1
    scf.if %same {
      memref.store %one, %a[%i] : memref<?xf64>
    }
    %other = func.call @hpacml_meet_1xf64_1xf64(%a, %local) : (memref<?xf64>, memref<?xf64>) -> i1
    scf.if %other {
      memref.store %two, %a[%i] : memref<?xf64>
    }
    memref.store %one, %local[%i] : memref<?xf64>
    memref.dealloc %local : memref<?xf64>
    scf.reduce
  }) : (index, index, index) -> ()
  func.return
}

// CHECK-LABEL: func.func @known
// CHECK-NOT:     extract_aligned_pointer
// CHECK:         "gpu.launch"
// CHECK:           memref.store %one, %a
// CHECK-NOT:       memref.store %two
// CHECK:           memref.store %one, %local
// CHECK-NOT:     "gpu.launch"

func.func @unknown(%a: memref<?xf64>, %b: memref<?xf64>, %sizes: memref<?xindex>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  "scf.parallel"(%c0, %n, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %meet = func.call @hpacml_meet_1xf64_1xf64(%a, %b) : (memref<?xf64>, memref<?xf64>) -> i1
    scf.if %meet {
      %size = memref.load %sizes[%i] : memref<?xindex>
      %local = memref.alloc(%size) : memref<?xf64>
      memref.dealloc %local : memref<?xf64>
    }
    scf.reduce
  }) : (index, index, index) -> ()
  func.return
}

// CHECK-LABEL: func.func @unknown
// CHECK:         scf.if
// CHECK-NEXT:      hpacml_rt.refuse "a parallel loop (prange) of 'unknown' cannot run on a GPU for arrays that share memory: it has a local array 'local' whose size is not known before the loop
// CHECK-NEXT:    } else {
// CHECK:           "gpu.launch"
