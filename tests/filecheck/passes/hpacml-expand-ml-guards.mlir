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

// -----

// Points that a guard rejects are taken before the original code makes them, which may overwrite them.

hpacml.functor @f : [i, 0 : 1] = ([i])
func.func @rejected(%t: memref<?xf32>, %n: index) {
  %io = hpacml.map inout @f(%t[0 : %n]) : memref<?xf32> -> !hpacml.mapping<?x1xf32>
  hpacml.ml infer inout(%io : !hpacml.mapping<?x1xf32>) guard <range, collect> label "r" database "d.h5" sample <every: 2> {
    "test.op"(%t) : (memref<?xf32>) -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @rejected
// CHECK:         [[REJECTED:%\d+]] = hpacml.count_points "r" %mask : memref<?xi8>
// CHECK:         scf.if %done {
// CHECK:           scf.if {{%\d+}} {
// CHECK:             %taken = scf.if {{%\d+}} -> (i1) {
// CHECK-NEXT:          [[SAMPLED:%\d+]] = hpacml.sample "r.rejected" database "d.h5" <every: 2>
// CHECK:             %at = memref.alloc({{%\d+}}) : memref<?xi64>
// CHECK-NEXT:        %k = scf.if %taken -> (index) {
// CHECK-NEXT:          [[K:%\d+]] = hpacml.count_points again "r" %mask : memref<?xi8> positions %at : memref<?xi64>
// CHECK:             %rows = memref.alloc(%k) : memref<?x1xf32>
// CHECK-NEXT:        hpacml.take_points [[X:%.*]] features [1] at %at count %k into %rows : memref<?x1xf32>, memref<?xi64>, memref<?x1xf32>
// CHECK-NEXT:        [[START:%\d+]] = hpacml_rt.milliseconds
// CHECK-NEXT:        hpacml.body_where "r" @r_body
// CHECK-NEXT:        [[STOP:%\d+]] = hpacml_rt.milliseconds
// CHECK-NEXT:        scf.if %taken {
// CHECK-NEXT:          [[TIME:%\d+]] = arith.subf [[STOP]], [[START]] : f64
// CHECK-NEXT:          [[MADE:%.*]] = memref.alloc(%k) : memref<?x1xf32>
// CHECK-NEXT:          hpacml.take_points %{{.*}} features [1] at %at count %k into [[MADE]]
// CHECK-NEXT:          %reasons = memref.alloc(%k) : memref<?xi8>
// CHECK-NEXT:          hpacml.take_points %mask features [] at %at count %k into %reasons
// CHECK-NEXT:          hpacml.collect "r" database "d.h5" sample <every: 2>{{.*}}reasons(%reasons : memref<?xi8>) time [[TIME]]
// CHECK:             } else {
// CHECK:           hpacml.scatter %y into %{{.*}}
// CHECK:         } else {
// CHECK:           hpacml.take_points %x
// CHECK:           hpacml.body "r" @r_body
// CHECK:             hpacml.gather %{{.*}} into %y
// CHECK:             hpacml.collect "r"

// -----

hpacml.functor @out : [i, 0:1] = ([i])

// One that is checked, one of which the original code makes all, and all others, which are as without checks.

func.func @checks(%t: memref<9xf32>, %u: memref<9xf32>) {
  %in = hpacml.map to @out(%t[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7x1xf32>
  %out = hpacml.map from @out(%u[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7x1xf32>
  hpacml.ml infer in(%in : !hpacml.mapping<7x1xf32>) out(%out : !hpacml.mapping<7x1xf32>) verify <every: 10, tolerance: 0.5> label "r" model "m.pt2" on_error "raise" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @checks
// CHECK:         [[DUE:%.*]], [[OPEN:%.*]] = hpacml.count_inference "r" <every: 10, tolerance: 0.5
// CHECK-NEXT:    scf.if [[DUE]] {
// CHECK:           hpacml.infer "r"
// CHECK:           scf.if [[OPEN]] {
// CHECK:           hpacml.body_aside "r" @r_body()
// CHECK:           hpacml.verify "r"
// CHECK:         } else {
// CHECK:           scf.if [[OPEN]] {
// CHECK-NEXT:        {{%.*}} = hpacml.body "r" @r_body()
// CHECK-NEXT:      } else {
// CHECK-NEXT:        [[X:%.*]] = hpacml.tensor %in
// CHECK-NEXT:        hpacml.gather %in into [[X]]
// CHECK-NEXT:        [[Y:%.*]] = hpacml.tensor %out
// CHECK-NEXT:        {{%.*}} = hpacml.infer "r" {{.*}} ins([[X]] : memref<7x1xf32>) outs([[Y]] : memref<7x1xf32>)
// CHECK-NEXT:        hpacml.scatter [[Y]] into %out
