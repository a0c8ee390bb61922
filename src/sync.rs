//! The one place that names locks, atomics and threads, so that loom can stand in for them.
//!
//! Under `--cfg emberlog_loom` the types below are loom's; everything built on them can then be model-checked as shipped.

#[cfg(not(emberlog_loom))]
mod real {
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
    pub(crate) use std::sync::Arc;
    pub(crate) use std::sync::OnceLock;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
    pub(crate) use std::thread::ThreadId;

    /// The thread that runs this.
    pub(crate) fn current_thread() -> ThreadId {
        std::thread::current().id()
    }
}

#[cfg(emberlog_loom)]
mod real {
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
    pub(crate) use loom::thread::ThreadId;
    pub(crate) use std::sync::OnceLock;

    /// The thread that runs this.
    pub(crate) fn current_thread() -> ThreadId {
        loom::thread::current().id()
    }

    /// loom's mutex behind parking_lot's interface (no poisoning: a panic ends the model).
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    /// loom's guard; taken out only while its holder waits on a condition.
    #[derive(Debug)]
    pub(crate) struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

    impl<T> std::ops::Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            self.0.as_ref().expect("put back when the wait ends")
        }
    }

    impl<T> std::ops::DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("put back when the wait ends")
        }
    }

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Self {
            Self::new(T::default())
        }
    }

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().expect("a panic ends the model")))
        }
        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
        }
    }

    /// loom's lock behind parking_lot's interface.
    #[derive(Debug)]
    pub(crate) struct RwLock<T>(loom::sync::RwLock<T>);
    pub(crate) type RwLockReadGuard<'a, T> = loom::sync::RwLockReadGuard<'a, T>;
    pub(crate) type RwLockWriteGuard<'a, T> = loom::sync::RwLockWriteGuard<'a, T>;

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(value))
        }
        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().expect("a panic ends the model")
        }
        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().expect("a panic ends the model")
        }
    }

    /// loom's condition behind parking_lot's interface.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }
        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }
        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let held = guard.0.take().expect("put back when the wait ends");
            guard.0 = Some(self.0.wait(held).expect("a panic ends the model"));
        }
        /// Time is not modelled: the pieces under loom wait for a condition, never for a while.
        pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _for: std::time::Duration) {
            self.wait(guard);
        }
    }
}

pub(crate) use real::*;
/// The machine's own counted pointer, also under loom: for trait objects, which loom's cannot hold, and for what is shared but not modelled.
pub(crate) use std::sync::Arc as PlainArc;
/// The same under the name that callers know it by, for what is public: documentation shows the name that a signature is written with.
pub(crate) mod plain {
    pub(crate) use std::sync::Arc;
}
/// The machine's own atomic, also under loom: for memory that the kernel hands out zeroed, which loom's types cannot live in.
pub(crate) use std::sync::atomic::{
    AtomicBool as PlainAtomicBool, AtomicU32 as PlainAtomicU32, AtomicU64 as PlainAtomicU64,
};

/// Lets other threads run; for loops that wait for a reader to finish a copy.
pub(crate) fn yield_now() {
    std::thread::yield_now();
}

/// How many threads the machine runs at once, as far as it says so.
pub(crate) fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A background thread with a name; joined by its owner, never detached.
#[derive(Debug)]
pub(crate) struct Worker(Option<std::thread::JoinHandle<()>>);

impl Worker {
    /// Starts a thread. Fails where the system refuses one.
    pub(crate) fn start(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        #[allow(clippy::disallowed_methods, reason = "the one home of threads")]
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(body)?;
        Ok(Self(Some(handle)))
    }

    /// Waits for the thread to end. From within the thread itself (the last handle dropped there) it lets go instead.
    pub(crate) fn join(&mut self) {
        if let Some(handle) = self.0.take()
            && handle.thread().id() != std::thread::current().id()
        {
            // A panic in the worker was already contained and counted there.
            let _ = handle.join();
        }
    }
}
