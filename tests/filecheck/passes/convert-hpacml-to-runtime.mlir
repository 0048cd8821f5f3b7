// RUN: hpacml-opt %s -p convert-hpacml-to-runtime --split-input-file | filecheck %s

// A call passes a constant that describes its site, and pointers to the descriptors of its tensors.

func.func @infer(%x: memref<?x5xf32>, %y: memref<?x1xf64>) {
  hpacml.infer "heat" model "m.pt2" batch 64 maps ["to: f", "from: g"] ins(%x : memref<?x5xf32>) outs(%y : memref<?x1xf64>)
  func.return
}

// CHECK:       llvm.mlir.global private constant @hpacml_site_0
// CHECK-SAME:    kind{{.*}}infer{{.*}}label{{.*}}heat{{.*}}path{{.*}}m.pt2{{.*}}batch{{.*}}64{{.*}}f32{{.*}}rank{{.*}}2{{.*}}f64
// CHECK:       func.func private @hpacml_infer(!llvm.ptr, !llvm.ptr) -> ()
// CHECK-LABEL: func.func @infer
// CHECK:         builtin.unrealized_conversion_cast %x : memref<?x5xf32> to !llvm.struct<(!llvm.ptr, !llvm.ptr, i64, !llvm.array<2 x i64>, !llvm.array<2 x i64>)>
// CHECK:         llvm.store
// CHECK:         builtin.unrealized_conversion_cast %y
// CHECK:         [[SITE:%\d+]] = llvm.mlir.addressof @hpacml_site_0
// CHECK-NEXT:    func.call @hpacml_infer([[SITE]], {{%\d+}}) : (!llvm.ptr, !llvm.ptr) -> ()

// -----

// The body is a function, timed where its time is recorded; equal bodies share one. A model may be an argument.

func.func @collect(%x: memref<?xf32>, %c: i1) {
  scf.if %c {
    %ms = hpacml.body "my region" {
      %zero = arith.constant 0 : index
      %v = memref.load %x[%zero] : memref<?xf32>
      memref.store %v, %x[%zero] : memref<?xf32>
    }
    hpacml.collect "my region" database @db ins(%x : memref<?xf32>) outs(%x : memref<?xf32>) time %ms
  } else {
    %ms = hpacml.body "my region" {
      %zero = arith.constant 0 : index
      %v = memref.load %x[%zero] : memref<?xf32>
      memref.store %v, %x[%zero] : memref<?xf32>
    }
  }
  func.return
}

// CHECK-DAG:   llvm.mlir.global {{.*}}collect{{.*}}argument{{.*}}db
// CHECK-LABEL: func.func @collect
// CHECK:         scf.if %c {
// CHECK:           [[START:%\d+]] = func.call @hpacml_time_ms() : () -> f64
// CHECK-NEXT:      func.call @my_region_body(%x)
// CHECK-NEXT:      [[STOP:%\d+]] = func.call @hpacml_time_ms() : () -> f64
// CHECK-NEXT:      %ms = arith.subf [[STOP]], [[START]] : f64
// CHECK:           func.call @hpacml_collect({{.*}}, {{.*}}, %ms)
// CHECK:         } else {
// CHECK-NEXT:      func.call @my_region_body(%x)
// CHECK-NEXT:    }
// CHECK:       func.func private @my_region_body(%x: memref<?xf32>)
// CHECK-NOT:   @my_region_body_1

// -----

// A doubtful map is judged by the runtime, which gets all its numbers.

func.func @check(%fits: i1, %size: index, %n: index) {
  hpacml.check_map %fits to "f: [i] = ([i - 1])" names ["t"] targets [#hpacml.target<[1 : ?]>] sizes(%size) bounds(%n) params() of [] text "f(t[1:n])"
  func.return
}

// CHECK:       llvm.mlir.global {{.*}}f: [i] = ([i - 1]){{.*}}[1 : ?]{{.*}}f(t[1:n])
// CHECK-LABEL: func.func @check
// CHECK:         llvm.alloca
// CHECK:         [[FAILS:%\d+]] = arith.xori %fits
// CHECK-NEXT:    scf.if [[FAILS]] {
// CHECK-NEXT:      arith.index_cast %size
// CHECK-NEXT:      arith.index_cast %n
// CHECK:           func.call @hpacml_check_map
// CHECK-NEXT:    }

// -----

func.func @nothing() {
  func.return
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @nothing
