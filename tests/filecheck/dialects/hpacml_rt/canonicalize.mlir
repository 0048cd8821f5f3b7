// RUN: hpacml-opt %s -p canonicalize | filecheck %s

// A check that cannot fail is none.

func.func @check(%d: index, %c: i1) {
  %true = arith.constant true
  hpacml_rt.check_map %true to "f: [i] = ([i])" names ["t"] targets [#hpacml.target<[0 : 3]>] sizes(%d) bounds() params() of []
  hpacml_rt.check_map %c to "f: [i] = ([i])" names ["t"] targets [#hpacml.target<[0 : 4]>] sizes(%d) bounds() params() of []
  func.return
}

// CHECK-LABEL: func.func @check
// CHECK-NEXT: hpacml_rt.check_map %c
// CHECK-NEXT: func.return
