//! Threshold rules that are small and right, and that a compiler cannot cope with: each loop carries every local around
//! to each loop outside it, so what there is to keep track of grows with the product of both.

use crate::crafted::{threshold, wat};

/// A rule with one function of so many loops inside each other, over so many locals.
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
