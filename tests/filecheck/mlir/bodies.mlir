// Original code that calls functions and reads globals: once it is outlined, upstream MLIR takes, simplifies and lowers
// it as it does any code, and nothing of it exists twice.

// RUN: hpacml-opt %s -p hpacml-expand-ml | filecheck %s
// RUN: hpacml-opt %s -p hpacml-expand-ml --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect --canonicalize --cse | filecheck %s --check-prefix UPSTREAM
// RUN: hpacml-opt %s -p hpacml-expand-ml --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect --cse --mlir-print-op-generic --mlir-print-local-scope | hpacml-opt -p hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | %mlir_lower | filecheck %s --check-prefix LLVM
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix UPSTREAM
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect --symbol-dce | filecheck %s --check-prefix UPSTREAM
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix UPSTREAM
// RUN: hpacml-opt %s -p 'hpacml-expand-ml{report=true},hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-gpu,hpacml-refuse-host-accesses' --print-op-generic | mlir-opt --verify-each --allow-unregistered-dialect | filecheck %s --check-prefix HOST
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime --print-op-generic | %mlir_lower | filecheck %s --check-prefix LLVM

hpacml.functor @point : [i] = ([i])

"memref.global"() <{sym_name = "table", sym_visibility = "private", type = memref<2xf32>, initial_value = dense<[1.0, 2.0]> : tensor<2xf32>, constant}> : () -> ()

func.func private @step(%t: memref<?xf32>, %i: index, %s: f32) -> f32 {
  %v = memref.load %t[%i] : memref<?xf32>
  %w = arith.mulf %v, %s : f32
  memref.store %w, %t[%i] : memref<?xf32>
  func.return %w : f32
}

func.func @region(%t: memref<?xf32>, %n: index, %s: f32, %c: i1, %d: i1) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = hpacml.map inout @point(%t[0 : %n]) : memref<?xf32> -> !hpacml.mapping<?xf32>
  hpacml.ml predicated(%c) if(%d) inout(%a : !hpacml.mapping<?xf32>) label "outer" model "m.pt2" database "d.h5" sample <every: 2> {
    %table = memref.get_global @table : memref<2xf32>
    %two = memref.load %table[%c1] : memref<2xf32>
    %w = func.call @step(%t, %n, %two) : (memref<?xf32>, index, f32) -> f32
    hpacml.ml collect inout(%a : !hpacml.mapping<?xf32>) label "inner" database "d.h5" {
      scf.for %i = %c0 to %n step %c1 {
        %v = func.call @step(%t, %i, %w) : (memref<?xf32>, index, f32) -> f32
      }
    }
  }
  func.return
}

// CHECK-LABEL: func.func @region
// CHECK-COUNT-4: hpacml.body "outer" @outer_body(%t, %n : memref<?xf32>, index)
// CHECK-LABEL: func.func private @outer_body(%t: memref<?xf32>, %n: index)
// CHECK:         func.call @step
// CHECK-NEXT:    hpacml.map inout @point
// CHECK:         hpacml.body "inner" @inner_body(%n, %t, %w : index, memref<?xf32>, f32)
// CHECK-LABEL: func.func private @inner_body(%n: index, %t: memref<?xf32>, %w: f32)
// CHECK:         func.call @step
// CHECK-NOT:     func.call @step

// UPSTREAM-LABEL: func.func @region
// UPSTREAM-LABEL: func.func private @outer_body
// UPSTREAM:         memref.get_global @table
// UPSTREAM:         call @step
// UPSTREAM-LABEL: func.func private @inner_body
// UPSTREAM:         call @step

// HOST-LABEL: func.func private @outer_body
// HOST-NEXT:    hpacml_rt.refuse

// The linker sees none of it.

// LLVM:       llvm.func @region
// LLVM:       llvm.func internal @outer_body
// LLVM:       llvm.func internal @inner_body
