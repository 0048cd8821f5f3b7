// RUN: hpacml-opt %s -p hpacml-expand-ml --split-input-file | filecheck %s

hpacml.functor @in : [i, 0:2] = ([i - 1], [i + 1])
hpacml.functor @out : [i, 0:1] = ([i])

// The guards read the map: without rejected points the region is one without guards.

func.func @range(%t: memref<9xf32>, %u: memref<9xf32>) {
  %in = hpacml.map to @in(%t[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7x2xf32>
  %out = hpacml.map from @out(%u[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7x1xf32>
  hpacml.ml infer in(%in : !hpacml.mapping<7x2xf32>) out(%out : !hpacml.mapping<7x1xf32>) guard <range> label "r" model "m.pt2" on_error "raise" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @range
// CHECK-NOT:     hpacml.gather
// CHECK:         hpacml.domain "r" model "m.pt2" on_error "raise" into([[LOW:%.*]], [[HIGH:%.*]] : memref<?xf32>, memref<?xf32>)
// CHECK-NEXT:    hpacml.check_range(%in : !hpacml.mapping<7x2xf32>) features [1, -1] low [[LOW]] high [[HIGH]] into %mask
// CHECK-NOT:     hpacml.gather
// CHECK:         [[REJECTED:%.*]] = hpacml.count_points "r" %mask
// CHECK:         [[SOME:%.*]] = arith.cmpi ne, [[REJECTED]]
// CHECK-NEXT:    scf.if [[SOME]] {
// CHECK:           hpacml.gather %in into [[X:%.*]] : !hpacml.mapping<7x2xf32>, memref<7x2xf32>
// CHECK:           hpacml.infer "r" {{.*}} ins([[X]] : memref<7x2xf32>) outs(%y : memref<7x1xf32>)
// CHECK:           hpacml.body_where "r" @r_body() at %mask
// CHECK:           hpacml.scatter %y into %out
// CHECK:           hpacml.body "r" @r_body()
// CHECK-NEXT:      }
// CHECK-NEXT:    } else {
// CHECK-NEXT:      [[ALL:%.*]] = hpacml.tensor %in
// CHECK-NEXT:      hpacml.gather %in into [[ALL]]
// CHECK-NEXT:      [[Y:%.*]] = hpacml.tensor %out
// CHECK-NEXT:      {{%.*}} = hpacml.infer "r" {{.*}} ins([[ALL]] : memref<7x2xf32>) outs([[Y]] : memref<7x1xf32>)
// CHECK-NEXT:      hpacml.scatter [[Y]] into %out
// CHECK-NEXT:    }

// -----

hpacml.functor @in : [i, 0:2] = ([i - 1], [i + 1])
hpacml.functor @out : [i, 0:1] = ([i])

// What the model says of itself is known behind it.

func.func @below(%t: memref<9xf32>, %u: memref<9xf32>) {
  %in = hpacml.map to @in(%t[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7x2xf32>
  %out = hpacml.map from @out(%u[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7x1xf32>
  hpacml.ml infer in(%in : !hpacml.mapping<7x2xf32>) out(%out : !hpacml.mapping<7x1xf32>) guard <distance: 4.0, below: 0.5> label "r" model "m.pt2" on_error "raise" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @below
// CHECK:         hpacml.gather %in into %x
// CHECK:         hpacml.check_distance(%x : memref<7x2xf32>) features [1, -1]
// CHECK-NOT:     hpacml.count_points
// CHECK:         hpacml.infer "r" {{.*}} ins(%x : memref<7x2xf32>) outs(%y, [[U:%.*]] : memref<7x1xf32>, memref<7x1xf32>)
// CHECK:         hpacml.check_below [[U]]
// CHECK-NEXT:    {{%.*}} = hpacml.count_points "r" %mask
// CHECK:         hpacml.body_where "r" @r_body() at %mask
// CHECK:         hpacml.scatter %y into %out
// CHECK-NOT:     hpacml.gather

// -----

hpacml.functor @out : [i, 0:1] = ([i])

// Indices are followed once.

func.func @indirect(%t: memref<9xf32>, %k: memref<7xi32>, %u: memref<9xf32>) {
  %in = hpacml.map to @out(%t[*%k[0 : 7]]) : memref<9xf32>, memref<7xi32> -> !hpacml.mapping<7x1xf32>
  %out = hpacml.map from @out(%u[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7x1xf32>
  hpacml.ml infer in(%in : !hpacml.mapping<7x1xf32>) out(%out : !hpacml.mapping<7x1xf32>) guard <range> label "r" model "m.pt2" on_error "raise" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @indirect
// CHECK:         hpacml.gather %in into %x
// CHECK:         hpacml.check_range(%x : memref<7x1xf32>) features [1, -1]
// CHECK:         hpacml.infer
// CHECK-NOT:     hpacml.gather
