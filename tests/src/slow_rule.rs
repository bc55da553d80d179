//! Small and valid threshold rules that take very long to compile: every local is live in every nested loop, so the
//! work of the register allocator grows with the product of both.

use crate::crafted::{threshold, wat};

/// A rule with one function that has this number of nested loops over this number of locals.
pub fn ponderous(loops: usize, locals: usize) -> Vec<u8> {
    let each = |range: std::ops::Range<usize>, text: &dyn Fn(usize) -> String| range.map(text).collect::<String>();
    let changes = each(0..locals, &|at| {
        let next = (at + 1) % locals;
        format!("local.get {at} local.get {next} i32.add local.set {at}\n")
    });
    let (begins, ends) = ("loop\n".repeat(loops), "end\n".repeat(loops));
    let backs = each(0..loops, &|depth| format!("local.get 0 br_if {depth}\n"));
    let extra = format!(
        "(func (export \"ponder\") (local {}) {begins} {changes} {backs} {ends})",
        "i32 ".repeat(locals)
    );
    threshold(&wat(1, "unreachable", &extra))
}
