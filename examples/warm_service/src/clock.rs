//! One clock for all processes: the system's monotonic one, so that the supervisor knows on the load's timetable when it killed.

use rustix::io::Errno;
use rustix::thread::{Timespec, clock_nanosleep_absolute};
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds in a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// Now, in nanoseconds. The same for every process on this machine.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Since boot, so neither part is negative.
    now.tv_sec.unsigned_abs() * SECOND_NS + now.tv_nsec.unsigned_abs()
}

/// Waits for a point in time. A timetable is what an open loop is; nothing else here waits for the clock.
pub(crate) fn wait_until(at_ns: u64) {
    let part = |ns: u64| i64::try_from(ns).expect("time since boot fits");
    let at = Timespec { tv_sec: part(at_ns / SECOND_NS), tv_nsec: part(at_ns % SECOND_NS) };
    while clock_nanosleep_absolute(ClockId::Monotonic, &at) == Err(Errno::INTR) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_at_the_time_and_not_before() {
        let at_ns = now_ns() + 3_000_000;
        wait_until(at_ns);
        assert!(now_ns() >= at_ns);
    }
}
