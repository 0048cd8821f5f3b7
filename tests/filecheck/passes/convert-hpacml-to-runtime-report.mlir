// RUN: hpacml-opt %s -p convert-hpacml-to-runtime --split-input-file | filecheck %s

// A record passes times and bytes on the stack, and a word of the module in which the runtime keeps its counters.

func.func @record(%bytes: i64, %zero: i64) {
  %0 = hpacml_rt.now
  %1 = hpacml_rt.now
  %2 = hpacml_rt.now
  hpacml_rt.record "heat" "collect" ["gather", "body"] times(%0, %1, %2) bytes(%bytes, %zero)
  func.return
}

// CHECK-DAG:   llvm.mlir.global internal @hpacml_counters_0(0 : i64) {addr_space = 0 : i32} : i64
// CHECK-DAG:   @hpacml_site_0("{\22kind\22: \22record\22, \22label\22: \22heat\22, \22way\22: \22collect\22, \22stages\22: [\22gather\22, \22body\22]}\00")
// CHECK-DAG:   func.func private @hpacml_time_ns() -> i64
// CHECK-DAG:   func.func private @hpacml_record(!llvm.ptr, !llvm.ptr, i64, !llvm.ptr, !llvm.ptr) -> ()
// CHECK-LABEL: func.func @record(%bytes: i64, %zero: i64) {
// CHECK:         [[BYTES:%\d+]] = llvm.alloca {{%\d+}} x i64 {alignment = 8 : i64} : (i32) -> !llvm.ptr
// CHECK-NEXT:    arith.constant 3 : i32
// CHECK-NEXT:    [[TIMES:%\d+]] = llvm.alloca {{%\d+}} x i64 {alignment = 8 : i64} : (i32) -> !llvm.ptr
// CHECK-NEXT:    [[T0:%\d+]] = func.call @hpacml_time_ns() : () -> i64
// CHECK-NEXT:    [[T1:%\d+]] = func.call @hpacml_time_ns() : () -> i64
// CHECK-NEXT:    [[T2:%\d+]] = func.call @hpacml_time_ns() : () -> i64
// CHECK-NEXT:    [[WORD:%\d+]] = llvm.mlir.addressof @hpacml_counters_0 : !llvm.ptr
// CHECK-NEXT:    [[STAGES:%\d+]] = arith.constant 2 : i64
// CHECK-NEXT:    [[P0:%\d+]] = llvm.getelementptr [[TIMES]][0] : (!llvm.ptr) -> !llvm.ptr, i64
// CHECK-NEXT:    llvm.store [[T0]], [[P0]] : i64, !llvm.ptr
// CHECK-NEXT:    [[P1:%\d+]] = llvm.getelementptr [[TIMES]][1] : (!llvm.ptr) -> !llvm.ptr, i64
// CHECK-NEXT:    llvm.store [[T1]], [[P1]] : i64, !llvm.ptr
// CHECK-NEXT:    [[P2:%\d+]] = llvm.getelementptr [[TIMES]][2] : (!llvm.ptr) -> !llvm.ptr, i64
// CHECK-NEXT:    llvm.store [[T2]], [[P2]] : i64, !llvm.ptr
// CHECK-NEXT:    [[B0:%\d+]] = llvm.getelementptr [[BYTES]][0] : (!llvm.ptr) -> !llvm.ptr, i64
// CHECK-NEXT:    llvm.store %bytes, [[B0]] : i64, !llvm.ptr
// CHECK-NEXT:    [[B1:%\d+]] = llvm.getelementptr [[BYTES]][1] : (!llvm.ptr) -> !llvm.ptr, i64
// CHECK-NEXT:    llvm.store %zero, [[B1]] : i64, !llvm.ptr
// CHECK-NEXT:    [[SITE:%\d+]] = llvm.mlir.addressof @hpacml_site_0 : !llvm.ptr
// CHECK-NEXT:    func.call @hpacml_record([[SITE]], [[WORD]], [[STAGES]], [[TIMES]], [[BYTES]]) : (!llvm.ptr, !llvm.ptr, i64, !llvm.ptr, !llvm.ptr) -> ()
// CHECK-NEXT:    func.return

// -----

// Records that say the same share their site and their counters.

func.func @sites(%t: i64, %b: i64) {
  hpacml_rt.record "heat" "body" ["body"] times(%t, %t) bytes(%b)
  hpacml_rt.record "heat" "body" ["body"] times(%t, %t) bytes(%b)
  hpacml_rt.record "cool" "body" ["body"] times(%t, %t) bytes(%b)
  func.return
}

// CHECK-DAG:   llvm.mlir.global internal @hpacml_counters_0
// CHECK-DAG:   llvm.mlir.global internal @hpacml_counters_1
// CHECK-LABEL: func.func @sites
// CHECK:         llvm.mlir.addressof @hpacml_counters_0
// CHECK:         llvm.mlir.addressof @hpacml_site_0
// CHECK:         llvm.mlir.addressof @hpacml_counters_0
// CHECK:         llvm.mlir.addressof @hpacml_site_0
// CHECK:         llvm.mlir.addressof @hpacml_counters_1
// CHECK:         llvm.mlir.addressof @hpacml_site_1

// -----

// A tensor is a copy unless it begins where one of the arrays does.

func.func @copied(%x: memref<?x5xf64>, %t: memref<?xf32>, %u: memref<?xf32, strided<[?], offset: ?>>, %z: memref<f32>) -> (i64, i64) {
  %0 = hpacml_rt.copied %x of(%t, %u : memref<?xf32>, memref<?xf32, strided<[?], offset: ?>>) : memref<?x5xf64>
  %1 = hpacml_rt.copied %z of() : memref<f32>
  func.return %0, %1 : i64, i64
}

// CHECK-LABEL: func.func @copied(%x: memref<?x5xf64>, %t: memref<?xf32>, %u: memref<?xf32, strided<[?], offset: ?>>, %z: memref<f32>) -> (i64, i64) {
// CHECK-NEXT:    %0 = arith.constant 8 : index
// CHECK-NEXT:    %1 = arith.constant 0 : index
// CHECK-NEXT:    %2 = memref.dim %x, %1 : memref<?x5xf64>
// CHECK-NEXT:    %3 = arith.muli %0, %2 : index
// CHECK-NEXT:    %4 = arith.constant 1 : index
// CHECK-NEXT:    %5 = memref.dim %x, %4 : memref<?x5xf64>
// CHECK-NEXT:    %6 = arith.muli %3, %5 : index
// CHECK-NEXT:    %7 = "memref.extract_aligned_pointer_as_index"(%x) : (memref<?x5xf64>) -> index
// CHECK-NEXT:    %8 = "memref.extract_aligned_pointer_as_index"(%t) : (memref<?xf32>) -> index
// CHECK-NEXT:    %9 = arith.cmpi eq, %7, %8 : index
// CHECK-NEXT:    %10 = arith.constant 0 : index
// CHECK-NEXT:    %11 = arith.select %9, %10, %6 : index
// CHECK-NEXT:    %12 = "memref.extract_aligned_pointer_as_index"(%x) : (memref<?x5xf64>) -> index
// CHECK-NEXT:    %13 = "memref.extract_aligned_pointer_as_index"(%u) : (memref<?xf32, strided<[?], offset: ?>>) -> index
// CHECK-NEXT:    %14 = arith.cmpi eq, %12, %13 : index
// CHECK-NEXT:    %15 = arith.constant 0 : index
// CHECK-NEXT:    %16 = arith.select %14, %15, %11 : index
// CHECK-NEXT:    %17 = arith.index_cast %16 : index to i64
// CHECK-NEXT:    %18 = arith.constant 4 : index
// CHECK-NEXT:    %19 = arith.index_cast %18 : index to i64
// CHECK-NEXT:    func.return %17, %19 : i64, i64
// CHECK-NEXT:    }
