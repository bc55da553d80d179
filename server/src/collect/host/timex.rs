//! How the kernel adjusts the clock: its offset, its estimated errors, and whether it is synchronized.
//!
//! No file has these values, and no dependency has a safe function for the system call, so this module calls it.

use std::mem;

use crate::collect::probe::Reading;

pub(super) const METRICS: &str = "node_timex_*";

/// The unit of frequencies: parts per million with a fraction of 16 bits. See the notes of `adjtimex(2)`.
const FREQUENCY_UNITS: f64 = 1_000_000.0 * 65_536.0;

const MICROSECONDS: f64 = 1e6;
const NANOSECONDS: f64 = 1e9;

/// Adds the state of the clock, unless the process is not allowed to read it.
pub(super) fn add(now_ms: u64, reading: &mut Reading) {
    if let Some((state, timex)) = read() {
        for (metric, value, unit) in values(state, &timex) {
            reading.add(metric, &[], value, unit, now_ms);
        }
    }
}

/// The kernel's parameters of the clock, and its state.
fn read() -> Option<(libc::c_int, libc::timex)> {
    // SAFETY: `timex` is a structure of integers, for which zeros are valid. The call only writes into it, and because
    // its `modes` are zero, it changes nothing else.
    #[expect(unsafe_code, reason = "no dependency has a safe function for this system call")]
    let (state, timex) = unsafe {
        let mut timex: libc::timex = mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    // A sandbox may forbid the call.
    (state >= 0).then_some((state, timex))
}

/// The metrics with their values and units.
fn values(state: libc::c_int, timex: &libc::timex) -> [(&'static str, f64, &'static str); 17] {
    let fraction = if timex.status & libc::STA_NANO == 0 {
        MICROSECONDS
    } else {
        NANOSECONDS
    };
    let is_synchronized = state != libc::TIME_ERROR;
    [
        (
            "node_timex_estimated_error_seconds",
            timex.esterror as f64 / MICROSECONDS,
            "seconds",
        ),
        (
            "node_timex_frequency_adjustment_ratio",
            1.0 + timex.freq as f64 / FREQUENCY_UNITS,
            "",
        ),
        ("node_timex_loop_time_constant", timex.constant as f64, ""),
        (
            "node_timex_maxerror_seconds",
            timex.maxerror as f64 / MICROSECONDS,
            "seconds",
        ),
        ("node_timex_offset_seconds", timex.offset as f64 / fraction, "seconds"),
        ("node_timex_pps_calibration_total", timex.calcnt as f64, ""),
        ("node_timex_pps_error_total", timex.errcnt as f64, ""),
        (
            "node_timex_pps_frequency_hertz",
            timex.ppsfreq as f64 / FREQUENCY_UNITS,
            "",
        ),
        (
            "node_timex_pps_jitter_seconds",
            timex.jitter as f64 / fraction,
            "seconds",
        ),
        ("node_timex_pps_jitter_total", timex.jitcnt as f64, ""),
        ("node_timex_pps_shift_seconds", f64::from(timex.shift), "seconds"),
        ("node_timex_pps_stability_exceeded_total", timex.stbcnt as f64, ""),
        (
            "node_timex_pps_stability_hertz",
            timex.stabil as f64 / FREQUENCY_UNITS,
            "",
        ),
        ("node_timex_status", f64::from(timex.status), ""),
        ("node_timex_sync_status", if is_synchronized { 1.0 } else { 0.0 }, ""),
        ("node_timex_tai_offset_seconds", f64::from(timex.tai), "seconds"),
        ("node_timex_tick_seconds", timex.tick as f64 / MICROSECONDS, "seconds"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(state: libc::c_int, timex: &libc::timex, metric: &str) -> f64 {
        let all = values(state, timex);
        let found = all.iter().find(|(name, _, _)| *name == metric);
        found.expect("it is one of them").1
    }

    #[test]
    fn the_clock_of_this_machine_can_be_read() {
        let (state, timex) = read().expect("tests may read it");
        // The kernel keeps the length of a tick within ten percent of a hundredth of a second.
        let tick = value(state, &timex, "node_timex_tick_seconds");
        assert!((0.009..=0.011).contains(&tick), "{tick}");
        let ratio = value(state, &timex, "node_timex_frequency_adjustment_ratio");
        assert!((0.999..=1.001).contains(&ratio), "{ratio}");
    }

    #[test]
    fn values_are_converted_to_seconds_and_ratios() {
        let (_, mut timex) = read().expect("tests may read it");
        timex.status = 0;
        timex.offset = -1_500_000;
        timex.maxerror = 16_000_000;
        timex.freq = 65_536;
        assert_eq!(value(libc::TIME_OK, &timex, "node_timex_offset_seconds"), -1.5);
        assert_eq!(value(libc::TIME_OK, &timex, "node_timex_maxerror_seconds"), 16.0);
        assert_eq!(
            value(libc::TIME_OK, &timex, "node_timex_frequency_adjustment_ratio"),
            1.000_001
        );
        timex.status = libc::STA_NANO;
        assert_eq!(value(libc::TIME_OK, &timex, "node_timex_offset_seconds"), -0.0015);
    }

    #[test]
    fn a_clock_that_nothing_synchronizes_is_in_the_state_of_an_error() {
        let (_, timex) = read().expect("tests may read it");
        assert_eq!(value(libc::TIME_OK, &timex, "node_timex_sync_status"), 1.0);
        assert_eq!(value(libc::TIME_INS, &timex, "node_timex_sync_status"), 1.0);
        assert_eq!(value(libc::TIME_ERROR, &timex, "node_timex_sync_status"), 0.0);
    }
}
