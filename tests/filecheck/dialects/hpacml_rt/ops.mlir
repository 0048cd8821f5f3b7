// Every operation of the dialect, printed and parsed in custom and in generic form.

// RUN: hpacml-opt %s | hpacml-opt | filecheck %s
// RUN: hpacml-opt %s --print-op-generic | hpacml-opt | filecheck %s
// RUN: hpacml-opt %s --print-op-generic | filecheck %s --check-prefix GENERIC

func.func @ranges(%ok: i1, %n: index) {
  hpacml_rt.check_map %ok to "f: [i] = ([i - 1])" names ["t"] targets [#hpacml.target<[1 : 9]>] sizes(%n) bounds() params() of []
  hpacml_rt.check_map %ok inout "f: [i, 0:m] = ([i * m : i * m + m, k])" names ["t"] targets [#hpacml.target<[1 : ? : 2, ?]>] sizes(%n, %n) bounds(%n, %n) params(%n) of ["m"] text "f(t[1:n:2, k])"
  func.return
}

// CHECK-LABEL: func.func @ranges(%ok: i1, %n: index) {
// CHECK-NEXT:    hpacml_rt.check_map %ok to "f: [i] = ([i - 1])" names ["t"] targets [#hpacml.target<[1 : 9]>] sizes(%n) bounds() params() of []
// CHECK-NEXT:    hpacml_rt.check_map %ok inout "f: [i, 0:m] = ([i * m : i * m + m, k])" names ["t"] targets [#hpacml.target<[1 : ? : 2, ?]>] sizes(%n, %n) bounds(%n, %n) params(%n) of ["m"] text "f(t[1:n:2, k])"
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

func.func @checks(%x: memref<?xf32>, %idx: memref<?xi32>, %u: memref<4x5xi8>, %a: !hpacml.indirect<?xi64>, %b: !hpacml.indirect<?x2xi8>, %m: !hpacml.mapping<?xf32>,
                  %ok: i1, %n: index) {
  hpacml_rt.check_map %ok from "f: [i] = ([i])" names ["x", "idx"] targets [#hpacml.target<[*[0 : ?]]>] sizes(%n, %n) bounds(%n) params() of [] arrays(%x, %idx : memref<?xf32>, memref<?xi32>)
  hpacml_rt.check_map %ok to "f: [i] = ([i + m])" names ["x", "idx", "u"] targets [#hpacml.target<[*[*[2 : ? : 3, 4]]]>] sizes(%n, %n, %n, %n) bounds(%n) params(%n) of ["m"] arrays(%x, %idx, %u : memref<?xf32>, memref<?xi32>, memref<4x5xi8>) text "f(x[idx[u[2:n:3, 4]]])" {note = "kept"}
  hpacml_rt.check_indices %m : !hpacml.mapping<?xf32>
  hpacml_rt.check_indices %m {note = "kept"} : !hpacml.mapping<?xf32>
  hpacml_rt.refuse "not here"
  hpacml_rt.refuse "nor here" {note = "kept"}
  %p = hpacml_rt.in_bounds %idx below %n : memref<?xi32>
  %q = hpacml_rt.in_bounds %u below %n : memref<4x5xi8>
  %r = hpacml_rt.in_bounds %a below %n {note = "kept"} : !hpacml.indirect<?xi64>
  %own = memref.alloc(%n) : memref<?xi32>
  %copied = hpacml_rt.in_bounds %idx below %n copy(%own : memref<?xi32>) : memref<?xi32>
  %watch = hpacml_rt.watch {note = "kept"}
  %bad = arith.constant 9 : i64
  hpacml_rt.bad_index %bad of %bad to %watch {note = "kept"}
  %none = hpacml_rt.none_bad %watch
  %s = hpacml_rt.distinct %b : !hpacml.indirect<?x2xi8>
  %whole = memref.alloc() : memref<20xi8>
  %once = hpacml_rt.distinct %b, %u in(%whole : memref<20xi8>) {note = "kept"} : !hpacml.indirect<?x2xi8>, memref<4x5xi8>
  %t = hpacml_rt.distinct %b, %u, %b {note = "kept"} : !hpacml.indirect<?x2xi8>, memref<4x5xi8>, !hpacml.indirect<?x2xi8>
  %flag, %record, %first = hpacml_rt.flag "checks" ["f(x[idx[0:n]])", ""] {note = "kept"}
  %down = hpacml_rt.flag_down %flag {note = "kept"}
  func.return
}

// CHECK-LABEL: func.func @checks(%x: memref<?xf32>, %idx: memref<?xi32>, %u: memref<4x5xi8>, %a: !hpacml.indirect<?xi64>, %b: !hpacml.indirect<?x2xi8>, %m: !hpacml.mapping<?xf32>, %ok: i1, %n: index) {
// CHECK-NEXT:    hpacml_rt.check_map %ok from "f: [i] = ([i])" names ["x", "idx"] targets [#hpacml.target<[*[0 : ?]]>] sizes(%n, %n) bounds(%n) params() of [] arrays(%x, %idx : memref<?xf32>, memref<?xi32>)
// CHECK-NEXT:    hpacml_rt.check_map %ok to "f: [i] = ([i + m])" names ["x", "idx", "u"] targets [#hpacml.target<[*[*[2 : ? : 3, 4]]]>] sizes(%n, %n, %n, %n) bounds(%n) params(%n) of ["m"] arrays(%x, %idx, %u : memref<?xf32>, memref<?xi32>, memref<4x5xi8>) text "f(x[idx[u[2:n:3, 4]]])" {note = "kept"}
// CHECK-NEXT:    hpacml_rt.check_indices %m : !hpacml.mapping<?xf32>
// CHECK-NEXT:    hpacml_rt.check_indices %m {note = "kept"} : !hpacml.mapping<?xf32>
// CHECK-NEXT:    hpacml_rt.refuse "not here"
// CHECK-NEXT:    hpacml_rt.refuse "nor here" {note = "kept"}
// CHECK-NEXT:    %p = hpacml_rt.in_bounds %idx below %n : memref<?xi32>
// CHECK-NEXT:    %q = hpacml_rt.in_bounds %u below %n : memref<4x5xi8>
// CHECK-NEXT:    %r = hpacml_rt.in_bounds %a below %n {note = "kept"} : !hpacml.indirect<?xi64>
// CHECK-NEXT:    %own = memref.alloc(%n) : memref<?xi32>
// CHECK-NEXT:    %copied = hpacml_rt.in_bounds %idx below %n copy(%own : memref<?xi32>) : memref<?xi32>
// CHECK-NEXT:    %watch = hpacml_rt.watch {note = "kept"}
// CHECK-NEXT:    %bad = arith.constant 9 : i64
// CHECK-NEXT:    hpacml_rt.bad_index %bad of %bad to %watch {note = "kept"}
// CHECK-NEXT:    %none = hpacml_rt.none_bad %watch
// CHECK-NEXT:    %s = hpacml_rt.distinct %b : !hpacml.indirect<?x2xi8>
// CHECK-NEXT:    %whole = memref.alloc() : memref<20xi8>
// CHECK-NEXT:    %once = hpacml_rt.distinct %b, %u in(%whole : memref<20xi8>) {note = "kept"} : !hpacml.indirect<?x2xi8>, memref<4x5xi8>
// CHECK-NEXT:    %t = hpacml_rt.distinct %b, %u, %b {note = "kept"} : !hpacml.indirect<?x2xi8>, memref<4x5xi8>, !hpacml.indirect<?x2xi8>
// CHECK-NEXT:    %flag, %record, %first = hpacml_rt.flag "checks" ["f(x[idx[0:n]])", ""] {note = "kept"}
// CHECK-NEXT:    %down = hpacml_rt.flag_down %flag {note = "kept"}
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

func.func @report(%x: memref<?x5xf32>, %t: memref<?xf32>, %u: memref<9xi32, strided<[?], offset: ?>>) {
  %0 = hpacml_rt.now
  %1 = hpacml_rt.now {note = "kept"}
  %ms = hpacml_rt.milliseconds {note = "kept"}
  %a = hpacml_rt.copied %x of(%t, %u : memref<?xf32>, memref<9xi32, strided<[?], offset: ?>>) : memref<?x5xf32>
  %b = hpacml_rt.copied %x of() {note = "kept"} : memref<?x5xf32>
  hpacml_rt.record "heat" "infer" ["gather", "model"] times(%0, %1, %1) bytes(%a, %b)
  hpacml_rt.record "heat" "body" ["body"] times(%0, %1) bytes(%a) {note = "kept"}
  func.return
}

// CHECK-LABEL: func.func @report(%x: memref<?x5xf32>, %t: memref<?xf32>, %u: memref<9xi32, strided<[?], offset: ?>>) {
// CHECK-NEXT:    %0 = hpacml_rt.now
// CHECK-NEXT:    %1 = hpacml_rt.now {note = "kept"}
// CHECK-NEXT:    %ms = hpacml_rt.milliseconds {note = "kept"}
// CHECK-NEXT:    %a = hpacml_rt.copied %x of(%t, %u : memref<?xf32>, memref<9xi32, strided<[?], offset: ?>>) : memref<?x5xf32>
// CHECK-NEXT:    %b = hpacml_rt.copied %x of() {note = "kept"} : memref<?x5xf32>
// CHECK-NEXT:    hpacml_rt.record "heat" "infer" ["gather", "model"] times(%0, %1, %1) bytes(%a, %b)
// CHECK-NEXT:    hpacml_rt.record "heat" "body" ["body"] times(%0, %1) bytes(%a) {note = "kept"}
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// Text may hold any character: xDSL prints one that is not ASCII escaped, and reads it back from both forms.

func.func @texts(%ok: i1, %n: index) {
  hpacml_rt.check_map %ok to "größe: [i] = ([i])" names ["größe"] targets [#hpacml.target<[0 : 3]>] sizes(%n) bounds() params() of [] text "größe(t[0:3])"
  hpacml_rt.refuse "Wärme läuft nicht"
  %flag, %record, %first = hpacml_rt.flag "Wärme" ["größe(t[0:3])"]
  %0 = hpacml_rt.now
  hpacml_rt.record "Wärme" "body" ["body"] times(%0, %0) bytes(%0)
  func.return
}

// CHECK-LABEL: func.func @texts
// CHECK-NEXT:    hpacml_rt.check_map %ok to "gr\C3\B6\C3\9Fe: [i] = ([i])" names ["gr\C3\B6\C3\9Fe"] targets [#hpacml.target<[0 : 3]>] sizes(%n) bounds() params() of [] text "gr\C3\B6\C3\9Fe(t[0:3])"
// CHECK-NEXT:    hpacml_rt.refuse "W\C3\A4rme l\C3\A4uft nicht"
// CHECK-NEXT:    %flag, %record, %first = hpacml_rt.flag "W\C3\A4rme" ["gr\C3\B6\C3\9Fe(t[0:3])"]
// CHECK-NEXT:    %0 = hpacml_rt.now
// CHECK-NEXT:    hpacml_rt.record "W\C3\A4rme" "body" ["body"] times(%0, %0) bytes(%0)
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// The generic form, which upstream tools read.

// GENERIC:      "hpacml_rt.check_map"(%ok, %n, %n, %n, %x, %idx) <{direction = #hpacml<direction from>, functor = "f: [i] = ([i])", names = ["x", "idx"], targets = [#hpacml.target<[*[0 : ?]]>], parameters = [], operandSegmentSizes = array<i32: 1, 2, 1, 0, 2>}>
// GENERIC:      "hpacml_rt.check_indices"(%m) : (!hpacml.mapping<?xf32>) -> ()
// GENERIC:      %r = "hpacml_rt.in_bounds"(%a, %n) {note = "kept"} : (!hpacml.indirect<?xi64>, index) -> i1
// GENERIC:      %t = "hpacml_rt.distinct"(%b, %u, %b) <{operandSegmentSizes = array<i32: 3, 0>}> {note = "kept"} : (!hpacml.indirect<?x2xi8>, memref<4x5xi8>, !hpacml.indirect<?x2xi8>) -> i1
// GENERIC:      %flag, %record, %first = "hpacml_rt.flag"() <{label = "checks", maps = ["f(x[idx[0:n]])", ""]}> {note = "kept"} : () -> (memref<1xi32>, memref<3xi64>, index)
// GENERIC:      %down = "hpacml_rt.flag_down"(%flag) {note = "kept"} : (memref<1xi32>) -> i1
// GENERIC:      %a = "hpacml_rt.copied"(%x, %t, %u) : (memref<?x5xf32>, memref<?xf32>, memref<9xi32, strided<[?], offset: ?>>) -> i64
// GENERIC:      "hpacml_rt.record"(%0, %1, %1, %a, %b) <{label = "heat", way = "infer", stages = ["gather", "model"], operandSegmentSizes = array<i32: 3, 2>}> : (i64, i64, i64, i64, i64) -> ()
